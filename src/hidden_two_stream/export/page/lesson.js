// What the person taught: clips of each class as embeddings, the head that was fitted to them, and its file.

import { assetBytes } from "./assets.js";
import { fitCalibration, fitHead, leaveOneOut, trainingWindows } from "./head.js";
import { mirrored } from "./resize.js";
import { readSafetensors, writeSafetensors } from "./safetensors.js";
import { clipIndices, rateSampler, spreadStarts } from "./sampling.js";
import { argmax } from "./scoring.js";

const KEY = "hidden_two_stream_project";
const FORMAT_VERSION = 1;
const WINDOWS_PER_CLIP = 4;

export class Lesson {
  /** @param {import("./network.js").Network} network */
  constructor(network) {
    this.network = network;
    this.fps = network.description.export.fps;
    this.mirror = network.description.recipe.input.flip;
    this.classes = [];
    this.clips = []; // {name, label, windows, mirrors, fps, numFrames, thumbnail}
    this.taught = null;
  }

  get stream() {
    return this.network.taughtStream;
  }

  /** Return why nothing can be fitted yet; null: it can. */
  missing() {
    const names = this.classes.map((name) => name.trim());
    if (names.length < 2) return "Add two classes or more.";
    if (names.some((name) => !name)) return "Give each class a name.";
    if (new Set(names).size < names.length) return "Two classes have the same name.";
    const empty = names.filter((_, at) => !this.clips.some((clip) => clip.label === at));
    if (empty.length) return `Record or add clips of ${empty.join(", ")}.`;
    return null;
  }

  /**
   * Compute the embeddings of a clip and keep them.
   *
   * @param {number} label - number of the class.
   * @param {string} name - of the clip, for the person.
   * @param {{seconds: number, frame: Uint8Array}[]} recorded - all frames, prepared for the network.
   * @param {string} thumbnail - data URL of a small picture.
   */
  async add(label, name, recorded, thumbnail) {
    const { network } = this;
    const sampler = rateSampler(this.fps);
    const frames = recorded.flatMap(({ seconds, frame }) => sampler.push(seconds, frame));
    frames.push(...sampler.end());
    if (!frames.length) throw new Error(`${name} has no frames`);
    const span = recorded.at(-1).seconds - recorded[0].seconds;
    const clips = spreadStarts(frames.length, network.length, network.stride, WINDOWS_PER_CLIP).map((start) =>
      clipIndices(start, network.length, network.stride, frames.length).map((at) => frames[at]),
    );
    const windows = await this._embeddings(clips);
    const mirrors = await this._embeddings(clips.map((clip) => clip.map((frame) => mirrored(frame, network.size))));
    const fps = span > 0 ? (recorded.length - 1) / span : 25;
    this.clips.push({ name, label, windows, mirrors, fps, numFrames: frames.length, thumbnail });
  }

  /** Take a clip away. */
  remove(clip) {
    this.clips = this.clips.filter((other) => other !== clip);
  }

  /** Take a class and its clips away. */
  removeClass(at) {
    this.classes.splice(at, 1);
    this.clips = this.clips.filter((clip) => clip.label !== at);
    for (const clip of this.clips) if (clip.label > at) clip.label--;
  }

  /**
   * Fit the last layer to all clips, and test it on each clip without that clip.
   *
   * @returns {{classes, head, calibration, fps, accuracy: number|null, confusion: number[][], right: boolean[],
   *   milliseconds: number}} also kept as `taught`.
   */
  fit() {
    const begun = performance.now();
    const clips = this.clips.map((clip) => ({ ...clip, training: this.mirror ? [...clip.windows, ...clip.mirrors] : clip.windows }));
    const count = this.classes.length;
    const head = fitHead(...trainingWindows(clips), count);
    const logits = leaveOneOut(clips, count, head.start);
    const labels = clips.map((clip) => clip.label);
    const right = logits.map((row, n) => argmax(row) === labels[n]);
    const confusion = Array.from({ length: count }, () => new Array(count).fill(0));
    logits.forEach((row, n) => confusion[labels[n]][argmax(row)]++);
    const accuracy = right.filter(Boolean).length / right.length;
    const calibration = fitCalibration(logits, labels, this.stream);
    const classes = this.classes.map((name) => name.trim());
    const milliseconds = performance.now() - begun;
    this.taught = { classes, head, calibration, fps: this.fps, accuracy, confusion, right, milliseconds };
    return this.taught;
  }

  /** Return the bytes of a project file, with the network that `hts import-web` makes a run of. */
  async save() {
    const { clips, taught, network } = this;
    const base = await assetBytes("base.safetensors");
    const rows = clips.flatMap((clip) => [...clip.windows, ...clip.mirrors]);
    const width = rows[0].length;
    const project = {
      format_version: FORMAT_VERSION,
      classes: taught.classes,
      stream: this.stream,
      fps: this.fps,
      mirror: this.mirror,
      size: network.size,
      network: network.description.export.fingerprint,
      calibration: taught.calibration,
      leave_one_out: { accuracy: taught.accuracy, confusion: taught.confusion },
      clips: clips.map((clip) => ({
        name: clip.name, label: clip.label, num_windows: clip.windows.length, fps: clip.fps,
        num_frames: clip.numFrames, thumbnail: clip.thumbnail,
      })),
    };
    const tensors = {
      weight: { shape: [taught.classes.length, width], data: Float32Array.from(taught.head.weight.flatMap((row) => [...row])) },
      bias: { shape: [taught.classes.length], data: Float32Array.from(taught.head.bias) },
      embeddings: { shape: [rows.length, width], data: Float32Array.from(rows.flatMap((row) => [...row])) },
      base: { shape: [base.length], data: base },
    };
    return writeSafetensors(tensors, { [KEY]: JSON.stringify(project) });
  }

  /**
   * Take over what a project file holds.
   *
   * @param {Uint8Array} file
   * @throws {Error} it is no project, is damaged, or belongs to another network.
   */
  open(file) {
    const { tensors, metadata } = readSafetensors(file);
    if (!metadata[KEY] || !tensors.embeddings) throw new Error("this is no project file of this page");
    const project = JSON.parse(metadata[KEY]);
    if (project.format_version !== FORMAT_VERSION) throw new Error("a newer page wrote this project; open it there");
    if (project.network !== this.network.description.export.fingerprint) {
      throw new Error("this project was taught with another network; open it in the page that it comes from");
    }
    const [, width] = tensors.embeddings.shape;
    let row = 0;
    const next = (count) => Array.from({ length: count }, () => tensors.embeddings.data.slice(row * width, ++row * width));
    this.clips = project.clips.map((clip) => ({
      name: clip.name, label: clip.label, windows: next(clip.num_windows), mirrors: next(clip.num_windows),
      fps: clip.fps, numFrames: clip.num_frames, thumbnail: clip.thumbnail,
    }));
    Object.assign(this, { classes: [...project.classes], fps: project.fps, mirror: project.mirror });
  }

  async _embeddings(clips) {
    const name = `${this.stream}_embedding`;
    const { outputs } = await this.network.run(clips, [name]);
    const { data, dims } = outputs[name];
    return clips.map((_, n) => data.slice(n * dims[1], (n + 1) * dims[1]));
  }
}
