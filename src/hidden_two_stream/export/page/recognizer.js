// A network with classes: those of its run, or those that were taught in the page.

import { headLogits } from "./head.js";
import { clipIndices, clipSpan } from "./sampling.js";
import { decision, fusedScores, meanOf, streamScores } from "./scoring.js";

const ONE_STREAM = { method: "product", spatial_weight: 1, temporal_weight: 1 };

export class Recognizer {
  /**
   * @param {import("./network.js").Network} network
   * @param {{classes: string[], head: object, calibration: object|null, fps: number}|null} taught - null: the
   *   classes of the run.
   */
  constructor(network, taught = null) {
    const { classes, recipe, provenance } = network.description;
    this.network = network;
    this.taught = taught;
    this.classes = taught ? taught.classes : classes;
    this.fps = taught ? taught.fps : network.description.export.fps;
    this.fusion = taught ? ONE_STREAM : recipe.fusion;
    this.calibration = taught ? taught.calibration : (provenance.calibration ?? null);
    this.streams = taught ? [network.taughtStream] : network.streams;
  }

  /**
   * Return the calibrated logits of each stream for clips, and what else was asked for.
   *
   * @param {Uint8Array[][]} clips
   * @param {boolean} withFlow - also return the hidden motion of the last clip.
   */
  async logits(clips, withFlow = false) {
    const kind = this.taught ? "embedding" : "logits";
    const names = this.streams.map((name) => `${name}_${kind}`);
    if (withFlow && this.network.outputs.includes("flow")) names.push("flow");
    const { outputs, milliseconds } = await this.network.run(clips, names);
    const rows = clips.map((_, n) =>
      Object.fromEntries(this.streams.map((name) => [name, this._row(outputs[`${name}_${kind}`], n, name)])),
    );
    return { rows, flow: outputs.flow ? lastFlow(outputs.flow) : null, milliseconds };
  }

  /** Return label and scores of averaged logits. */
  result(logits) {
    const scores = fusedScores(logits, this.fusion, this.calibration);
    const { best, isKnown } = decision(logits, scores, this.calibration);
    const streams = Object.fromEntries(
      Object.entries(logits).map(([name, values]) => [name, streamScores(values, this.fusion.method)]),
    );
    return { label: isKnown ? this.classes[best] : null, nearest: this.classes[best], best, scores, streams, logits };
  }

  /** Return the result of clips of one video: their logits are averaged, then fused. */
  async video(clips) {
    const rows = [];
    for (const clip of clips) rows.push(...(await this.logits([clip])).rows);
    return this.averaged(rows);
  }

  /** Return the result of several rows of logits. */
  averaged(rows) {
    const mean = (name) => meanOf(rows.map((row) => row[name]));
    return this.result(Object.fromEntries(this.streams.map((name) => [name, mean(name)])));
  }

  _row({ data, dims }, n, name) {
    const row = data.subarray(n * dims[1], (n + 1) * dims[1]);
    if (!this.taught) return Array.from(row);
    const temperature = this.calibration?.temperatures[name] ?? 1;
    return headLogits(this.taught.head, row).map((value) => value / temperature);
  }
}

/** The newest window of a stream of frames. */
export class Ring {
  constructor(network) {
    this._length = network.length;
    this._stride = network.stride;
    this._span = clipSpan(network.length, network.stride);
    this._frames = [];
  }

  clear() {
    this._frames = [];
  }

  push(frame) {
    this._frames.push(frame);
    if (this._frames.length > this._span) this._frames.shift();
  }

  /** Frames that are still missing. */
  get missing() {
    return this._span - this._frames.length;
  }

  /** Return the newest clip; a video shorter than a clip repeats its last frame. */
  clip() {
    return clipIndices(0, this._length, this._stride, this._frames.length).map((at) => this._frames[at]);
  }
}

function lastFlow({ data, dims }) {
  const [, , , height, width] = dims;
  return { data: data.subarray(data.length - 2 * height * width), height, width };
}
