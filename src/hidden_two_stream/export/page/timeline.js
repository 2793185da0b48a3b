// What was recognized when, as a strip of colors.

import { classColor } from "./elements.js";

const LIVE_SECONDS = 30;

export class Timeline {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this._canvas = canvas;
    this._pieces = [];
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Forget everything. `whole`: show the whole video, and not only the newest half minute. */
  clear(whole) {
    this._pieces = [];
    this._whole = whole;
    this.draw();
  }

  /**
   * Add the label of an interval.
   *
   * @param {number} start - seconds.
   * @param {number} end - seconds.
   * @param {string|null} label - null: no class fits.
   * @param {number} at - number of the class, for its color.
   */
  add(start, end, label, at) {
    const last = this._pieces.at(-1);
    if (last && last.label === label && start - last.end < 0.5) last.end = end;
    else this._pieces.push({ start: last ? Math.max(start, Math.min(last.end, end)) : start, end, label, at });
    if (!this._whole) this._pieces = this._pieces.filter((piece) => piece.end > end - LIVE_SECONDS);
    this.draw();
  }

  /** Return the intervals: {start, end, label}, seconds. */
  intervals() {
    return this._pieces.map(({ start, end, label }) => ({ start, end, label }));
  }

  draw() {
    const { clientWidth, clientHeight } = this._canvas;
    const zoom = devicePixelRatio || 1;
    Object.assign(this._canvas, { width: clientWidth * zoom, height: clientHeight * zoom });
    const context = this._canvas.getContext("2d");
    context.scale(zoom, zoom);
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    const stop = this._pieces.at(-1)?.end ?? 0;
    const start = this._whole ? 0 : Math.max(0, stop - LIVE_SECONDS);
    const scale = clientWidth / (this._whole ? Math.max(stop, 1e-3) : LIVE_SECONDS);
    for (const piece of this._pieces) drawPiece(context, piece, (piece.start - start) * scale, (piece.end - start) * scale, clientHeight);
  }
}

function drawPiece(context, { label, at }, left, right, height) {
  if (label === null) return;
  const width = Math.max(right - left, 1);
  context.fillStyle = classColor(at);
  context.fillRect(left, 0, width, height);
  const room = width - 10;
  if (context.measureText(label).width > room) return;
  context.fillStyle = "#fff";
  context.shadowColor = "rgb(0 0 0 / .7)";
  context.shadowBlur = 3;
  context.fillText(label, left + 5, height / 2);
  context.shadowBlur = 0;
}
