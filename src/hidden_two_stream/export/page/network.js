// The exported network: loads it into a worker, and runs clips through it.

import { assetBytes, assetJson, assetUrl, isSingleFile } from "./assets.js";

const RUNTIME = "onnxruntime/";
const MOST_THREADS = 4;

/** ONNX Runtime's files for each way to compute. */
const PROVIDERS = {
  wasm: { script: "ort.wasm.min.js", binary: "ort-wasm-simd-threaded" },
  webgpu: { script: "ort.webgpu.min.js", binary: "ort-wasm-simd-threaded.asyncify" },
};

export class Network {
  /**
   * @param {object} description - of the exported run: classes, recipe, provenance, export.
   * @param {Worker} worker - runs worker.js.
   * @param {Uint8Array} model - bytes of the ONNX file.
   */
  constructor(description, worker, model) {
    this.description = description;
    this.provider = "wasm";
    this.threads = 1;
    this.numBytes = model.length;
    this._model = model;
    this._worker = worker;
    this._waiting = new Map();
    this._next = 0;
    worker.onmessage = ({ data }) => this._settle(data);
    worker.onerror = (event) => this._fail(event.message || "the worker could not start");
  }

  /** Names of the streams that the graph has, in the order of its outputs. */
  get streams() {
    return ["spatial", "temporal"].filter((name) => this.outputs.includes(`${name}_logits`));
  }

  /** The stream whose embeddings the page teaches: motion, where the run has it. */
  get taughtStream() {
    return this.streams.includes("temporal") ? "temporal" : "spatial";
  }

  get outputs() {
    return this.description.export.outputs;
  }

  get length() {
    return this.description.export.num_frames;
  }

  get stride() {
    return this.description.export.frame_stride;
  }

  get size() {
    return this.description.export.size;
  }

  get resize() {
    return this.description.export.resize;
  }

  /**
   * Load the network.
   *
   * @param {(share: number) => void} onProgress - called with 0…1 while the files load.
   */
  static async load(onProgress = () => {}) {
    const description = await assetJson("model.json");
    const model = await assetBytes("model.onnx", (share) => onProgress(0.3 * share));
    const network = new Network(description, await newWorker(), model);
    network.threads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
    await network._load("wasm", (share) => onProgress(0.3 + 0.7 * share));
    return network;
  }

  /**
   * Run clips through the network.
   *
   * @param {Uint8Array[][]} clips - each of `length` frames (size, size, 3).
   * @param {string[]} names - outputs of the graph.
   * @returns {Promise<{milliseconds: number, outputs: Record<string, {data: Float32Array, dims: number[]}>}>}
   */
  run(clips, names) {
    const { length, size } = this;
    const one = 3 * size * size;
    const frames = new Uint8Array(clips.length * length * one);
    clips.forEach((clip, n) => clip.forEach((frame, t) => frames.set(frame, (n * length + t) * one)));
    const shape = [clips.length, length, size, size, 3];
    return this._ask({ task: "run", frames, shape, outputs: names }, [frames.buffer]);
  }

  /**
   * Compute on the graphics processor, if it gives the same scores.
   *
   * @param {Uint8Array[]} clip - frames to compare the two with.
   * @returns {Promise<{difference: number, before: number, after: number}>} largest difference of a score,
   *   and the milliseconds of a clip.
   * @throws {Error} it does not work here, or the scores differ by more than 0.001; nothing changes then.
   */
  async useWebGpu(clip) {
    if (isSingleFile()) throw new Error("a page in one file has no WebGPU; export a folder for it");
    if (!navigator.gpu || !(await navigator.gpu.requestAdapter())) throw new Error("this browser has no WebGPU here");
    const before = await this._timed(clip);
    const other = new Network(this.description, await newWorker(), this._model);
    try {
      await other._load("webgpu", () => {});
      const after = await other._timed(clip);
      const difference = largestDifference(before.scores, after.scores);
      if (!(difference <= 1e-3)) throw new Error(`WebGPU's scores differ by ${difference.toPrecision(2)}`);
      this._takeWorker(other);
      return { difference, before: before.milliseconds, after: after.milliseconds };
    } catch (error) {
      other._worker.terminate();
      throw error;
    }
  }

  async _timed(clip) {
    await this.run([clip], ["scores"]);
    const { milliseconds, outputs } = await this.run([clip], ["scores"]);
    return { milliseconds, scores: outputs.scores.data };
  }

  _takeWorker(other) {
    const old = this._worker;
    this._fail("the network was replaced");
    this._worker = other._worker;
    this._worker.onmessage = ({ data }) => this._settle(data);
    this._worker.onerror = (event) => this._fail(event.message);
    this.provider = other.provider;
    old.terminate();
  }

  async _load(provider, onProgress) {
    const { script, binary } = PROVIDERS[provider];
    const glue = `${RUNTIME}${binary}.mjs`;
    const runtime = isSingleFile()
      ? { glue: await assetBytes(glue) }
      : { script: await assetUrl(RUNTIME + script), glueUrl: await assetUrl(glue) };
    runtime.wasm = (await assetBytes(`${RUNTIME}${binary}.wasm`, onProgress)).buffer;
    await this._ask({ task: "load", model: this._model, runtime, provider, threads: this.threads }, [runtime.wasm]);
    this.provider = provider;
  }

  _ask(message, transfer) {
    const id = this._next++;
    return new Promise((resolve, reject) => {
      this._waiting.set(id, { resolve, reject });
      this._worker.postMessage({ id, ...message }, transfer);
    });
  }

  _settle({ id, found, error }) {
    const waiting = this._waiting.get(id);
    this._waiting.delete(id);
    if (error === undefined) waiting?.resolve(found);
    else waiting?.reject(new Error(error));
  }

  _fail(reason) {
    for (const { reject } of this._waiting.values()) reject(new Error(reason));
    this._waiting.clear();
  }
}

function largestDifference(before, after) {
  return before.reduce((most, value, at) => Math.max(most, Math.abs(value - after[at])), 0);
}

async function newWorker() {
  if (!isSingleFile()) return new Worker(await assetUrl("worker.js"));
  const parts = [await assetBytes(RUNTIME + PROVIDERS.wasm.script), "\n", await assetBytes("worker.js")];
  return new Worker(URL.createObjectURL(new Blob(parts, { type: "text/javascript" })));
}
