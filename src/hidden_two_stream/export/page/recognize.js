// The panel that recognizes: camera or file in, frames, hidden motion, scores and a timeline out.

import { button, element, fileButton, say, scoreBars } from "./elements.js";
import { drawFlow, flowScale } from "./flow_color.js";
import { addPanel, onPanelShown } from "./panels.js";
import { Ring } from "./recognizer.js";
import { clipIndices, rateSampler, uniformStarts } from "./sampling.js";
import { meanOf } from "./scoring.js";
import { Timeline } from "./timeline.js";
import { fileFrames, Grabber } from "./video.js";

const SMOOTH_SECONDS = 0.4;
const HOP_SECONDS = 0.25;
const CLIPS = 10;
const MOST_KEPT_FRAMES = 1500;

export class RecognizePanel {
  /**
   * @param {import("./network.js").Network} network
   * @param {import("./video.js").Camera} camera
   */
  constructor(network, camera) {
    this._network = network;
    this._camera = camera;
    this._grabber = new Grabber(network);
    this._ring = new Ring(network);
    this._recognizers = [];
    this._stopping = null;
    this._flowScale = 1;
    this._build(addPanel("recognize", "Recognize"));
    onPanelShown((id) => id !== "recognize" && this._camera.isOn && this.stop());
  }

  /** Offer a recognizer; one of the same name takes the place of the earlier. */
  offer(name, recognizer, choose) {
    this._recognizers = [...this._recognizers.filter((each) => each.name !== name), { name, recognizer }];
    const chosen = choose ? name : this._choice.value || name;
    this._choice.replaceChildren(...this._recognizers.map((each) => element("option", { value: each.name }, each.name)));
    this._choice.value = chosen;
    this._choiceRow.hidden = this._recognizers.length < 2;
  }

  /** Take back a recognizer. */
  withdraw(name) {
    this._recognizers = this._recognizers.filter((each) => each.name !== name);
    this._choice.querySelector(`option[value="${CSS.escape(name)}"]`)?.remove();
    this._choiceRow.hidden = this._recognizers.length < 2;
  }

  get recognizer() {
    return this._recognizers.find((each) => each.name === this._choice.value).recognizer;
  }

  /** Stop the camera or the file. */
  stop() {
    this._stopping?.abort();
    this._stopping = null;
    this._camera.stop();
    this._stopButton.disabled = true;
  }

  /** Recognize what the camera shows, until `stop`. */
  async startCamera() {
    this._begin(false);
    const { signal } = this._stopping;
    say(this._status, "Starting the camera …");
    try {
      await this._camera.start();
    } catch (error) {
      this.stop();
      return say(this._status, error.message, true);
    }
    const end = this._camera.onFrame((frame) => this._liveFrame(frame));
    signal.addEventListener("abort", end);
    return undefined;
  }

  /**
   * Recognize a file: windows along it for the timeline, and one label for the whole.
   *
   * @param {File} file
   * @returns {Promise<object|null>} the result of the whole video; null: it was stopped, or failed.
   */
  async recognizeFile(file) {
    this._begin(true);
    const { signal } = this._stopping;
    say(this._status, `Reading ${file.name} …`);
    try {
      const found = await this._wholeFile(file, signal);
      if (found) this._showWhole(file, found);
      return found?.result ?? null;
    } catch (error) {
      say(this._status, error.message, true);
      return null;
    } finally {
      if (this._stopping?.signal === signal) this.stop();
    }
  }

  async _wholeFile(file, signal) {
    const { recognizer, _network: network } = this;
    const sampler = rateSampler(recognizer.fps);
    const kept = [], rows = [];
    let count = 0, nextWindow = 0, way = "", last = 0;
    const take = async (prepared, seconds) => {
      this._ring.push(prepared);
      if (count++ < MOST_KEPT_FRAMES) kept.push(prepared);
      if (this._ring.missing > 0 || seconds < nextWindow) return;
      nextWindow = seconds + HOP_SECONDS;
      rows.push(await this._fileWindow(recognizer, last, seconds));
      last = seconds;
    };
    for await (const frame of fileFrames(file, signal)) {
      way = frame.way;
      this._drawFrame(frame);
      const prepared = this._grabber.grab(frame.width, frame.height, frame.draw);
      for (const due of sampler.push(frame.seconds, prepared)) await take(due, frame.seconds);
    }
    for (const due of sampler.end()) await take(due, last);
    if (signal.aborted) return null;
    if (!count) throw new Error(`${file.name} has no frames`);
    if (!rows.length) rows.push(await this._fileWindow(recognizer, 0, last));
    const whole = count <= MOST_KEPT_FRAMES;
    const starts = uniformStarts(count, network.length, network.stride, CLIPS);
    const clips = starts.map((start) => clipIndices(start, network.length, network.stride, count).map((at) => kept[at]));
    const result = whole ? await recognizer.video(clips) : recognizer.averaged(rows);
    return { result, way, count, windows: whole ? clips.length : rows.length };
  }

  async _fileWindow(recognizer, start, end) {
    const { rows, flow, milliseconds } = await recognizer.logits([this._ring.clip()], true);
    const found = recognizer.result(rows[0]);
    this._timeline.add(start, end, found.label, found.best);
    this._show(found, flow);
    this._speed(milliseconds);
    return rows[0];
  }

  _showWhole(file, { result, way, count, windows }) {
    this._show(result, null);
    this._announce(result);
    const text = `${file.name}: ${count} frames (${way}). The label is the mean of ${windows} windows.`;
    say(this._status, text);
  }

  _begin(whole) {
    this.stop();
    this._stopping = new AbortController();
    this._stopButton.disabled = false;
    this._ring.clear();
    this._timeline.clear(whole);
    this._recent = [];
    this._decisions = [];
    this._flowScale = 1;
    this._announced = undefined;
    this._busy = false;
    this._sampler = rateSampler(this.recognizer.fps);
    this._answer.textContent = "…";
    this._bars.replaceChildren();
  }

  _liveFrame(frame) {
    this._drawFrame(frame);
    const prepared = this._grabber.grab(frame.width, frame.height, frame.draw);
    for (const due of this._sampler.push(frame.seconds, prepared)) this._ring.push(due);
    if (this._ring.missing > 0) return say(this._status, `Collecting frames: ${this._ring.missing} to go.`);
    if (!this._busy) this._decide(frame.seconds); // while the network is busy, only the newest frames wait
    return undefined;
  }

  async _decide(seconds) {
    const { signal } = this._stopping;
    const { recognizer } = this;
    this._busy = true;
    try {
      const { rows, flow, milliseconds } = await recognizer.logits([this._ring.clip()], true);
      if (signal.aborted) return;
      this._recent = [...this._recent.filter((each) => each.seconds > seconds - SMOOTH_SECONDS && each.recognizer === recognizer), { seconds, row: rows[0], recognizer }];
      const mean = (name) => meanOf(this._recent.map((each) => each.row[name]));
      const found = recognizer.result(Object.fromEntries(recognizer.streams.map((name) => [name, mean(name)])));
      this._timeline.add(this._decisions.at(-1)?.seconds ?? seconds, seconds, found.label, found.best);
      this._show(found, flow);
      this._announce(found);
      this._speed(milliseconds, seconds);
    } catch (error) {
      this.stop();
      say(this._status, error.message, true);
    } finally {
      if (!signal.aborted) this._busy = false;
    }
  }

  _speed(milliseconds, seconds) {
    if (seconds === undefined) return;
    this._decisions = [...this._decisions.filter((each) => each.seconds > seconds - 2), { seconds, milliseconds }];
    const span = seconds - this._decisions[0].seconds;
    this.rate = span > 0.5 ? (this._decisions.length - 1) / span : 0;
    const mean = this._decisions.reduce((sum, each) => sum + each.milliseconds, 0) / this._decisions.length;
    say(this._status, `${this.rate.toFixed(0)} recognitions a second, ${mean.toFixed(0)} ms each.`);
  }

  _show(found, flow) {
    const percent = (100 * found.scores[found.best]).toFixed(0);
    this._answer.textContent = found.label ?? "nothing it knows";
    this._answer.classList.toggle("muted", found.label === null);
    this._nearest.textContent = found.label === null ? `Nearest: ${found.nearest}, ${percent} %` : "";
    this._bars.replaceChildren(scoreBars(this.recognizer.classes, found.scores));
    this._streams.textContent = Object.entries(found.streams)
      .map(([name, scores]) => `${name} stream: ${this.recognizer.classes[scores.indexOf(Math.max(...scores))]} ${(100 * Math.max(...scores)).toFixed(0)} %`)
      .join(" · ");
    if (flow) this._drawMotion(flow);
    this.latest = found;
  }

  /** Tell screen readers about a new label, but not about each frame. */
  _announce(found) {
    if (found.label === this._announced) return;
    this._announced = found.label;
    this._spoken.textContent = found.label ?? "nothing it knows";
  }

  _drawFrame({ width, height, draw }) {
    const canvas = this._frames;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    draw(canvas.getContext("2d"));
  }

  _drawMotion({ data, height, width }) {
    const canvas = this._flow;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this._flowScale = Math.max(0.95 * this._flowScale, flowScale(data));
    const image = new ImageData(width, height);
    drawFlow(data, image.data, this._flowScale);
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  _build(panel) {
    this._choice = element("select", { onchange: () => this._camera.isOn && this.startCamera() });
    this._choiceRow = element("label", {}, "Recognize", this._choice);
    this._stopButton = button("Stop", () => this.stop(), "quiet");
    this._stopButton.disabled = true;
    this._frames = element("canvas", { role: "img", "aria-label": "The newest frame" });
    this._flow = element("canvas", { role: "img", "aria-label": "The motion in the newest frames, in color" });
    this._answer = element("div.answer.muted", { "aria-hidden": "true" }, "Start the camera, or choose a video.");
    this._spoken = element("p.spoken", { role: "status" });
    this._nearest = element("p.muted.small");
    this._bars = element("div");
    this._streams = element("p.muted.small");
    this._status = element("p.muted.small", { role: "alert" });
    const strip = element("canvas.timeline", { role: "img", "aria-label": "Timeline of the labels" });
    panel.append(
      element(
        "div.card.row", {},
        button("Start the camera", () => this.startCamera(), "primary"),
        fileButton("Choose a video", ([file]) => this.recognizeFile(file)),
        this._stopButton,
        this._choiceRow,
      ),
      element(
        "div.card.columns", {},
        element("figure", {}, element("div.screen", {}, this._frames), element("figcaption", {}, "Frames")),
        element(
          "figure", {}, element("div.screen.flow", {}, this._flow),
          element("figcaption", {}, "Hidden motion: the hue is the direction, white is still", colorWheel()),
        ),
      ),
      element("div.card", {}, this._answer, this._spoken, this._nearest, this._bars, this._streams),
      element("div.card", {}, element("h2", {}, "Timeline"), strip, this._status),
    );
    this._timeline = new Timeline(strip);
  }
}

/** Return a picture that shows which color is which direction. */
function colorWheel() {
  const side = 44;
  const canvas = element("canvas", { width: side, height: side, role: "img", "aria-label": "Right is red, down yellow, left cyan, up violet" });
  const flow = new Float32Array(2 * side * side);
  for (let at = 0; at < side * side; at++) {
    const x = ((at % side) + 0.5) / side - 0.5, y = (Math.floor(at / side) + 0.5) / side - 0.5;
    flow[at] = x;
    flow[side * side + at] = y;
  }
  const image = new ImageData(side, side);
  drawFlow(flow, image.data, 0.5);
  for (let at = 0; at < side * side; at++) if (Math.hypot(flow[at], flow[side * side + at]) > 0.5) image.data[4 * at + 3] = 0;
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.style.cssText = "width: 22px; height: 22px; flex: none";
  return canvas;
}
