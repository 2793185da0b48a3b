// Frames of files and cameras.

import { assetUrl } from "./assets.js";
import { preparedFrame } from "./resize.js";

const PLAYER_FPS = 25;
const CAMERA = { video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } }, audio: false };

/** Copies pixels of videos, at the size that the network takes. */
export class Grabber {
  constructor(network) {
    this._resize = network.resize;
    this._size = network.size;
    this.canvas = new OffscreenCanvas(1, 1);
    this._context = this.canvas.getContext("2d", { willReadFrequently: true });
  }

  /**
   * Return the prepared frame (size, size, 3).
   *
   * @param {number} width - of the frame, px.
   * @param {number} height - of the frame, px.
   * @param {(context: OffscreenCanvasRenderingContext2D) => void} draw - draws the frame at 0, 0.
   */
  grab(width, height, draw) {
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    draw(this._context);
    return preparedFrame(this._context.getImageData(0, 0, width, height), this._resize, this._size);
  }
}

/**
 * Yield the frames of a video file: WebCodecs decodes every frame; where it cannot, the browser's player is
 * asked for 25 frames per second.
 *
 * @param {File} file
 * @param {AbortSignal} signal - stops between two frames.
 * @yields {{seconds: number, width: number, height: number, draw: Function, way: string}} valid until the next.
 * @throws {Error} neither way can read it.
 */
export async function* fileFrames(file, signal) {
  if (file.size === 0) throw new Error(`${file.name} is empty`);
  const track = await decodableTrack(file);
  yield* track ? decodedFrames(track, signal) : playedFrames(file, signal);
}

async function decodableTrack(file) {
  if (typeof VideoDecoder === "undefined") return null;
  const { Input, BlobSource, ALL_FORMATS } = await import(await assetUrl("mediabunny/mediabunny.min.mjs"));
  try {
    const input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS });
    const track = await input.getPrimaryVideoTrack();
    return track && (await track.canDecode()) ? track : null;
  } catch {
    return null; // the player may know the format
  }
}

async function* decodedFrames(track, signal) {
  const { VideoSampleSink } = await import(await assetUrl("mediabunny/mediabunny.min.mjs"));
  let first = null;
  for await (const sample of new VideoSampleSink(track).samples()) {
    try {
      if (signal.aborted) return;
      first ??= sample.timestamp;
      const { displayWidth: width, displayHeight: height } = sample;
      const draw = (context) => sample.draw(context, 0, 0, width, height);
      yield { seconds: sample.timestamp - first, width, height, draw, way: "every frame" };
    } finally {
      sample.close();
    }
  }
}

async function* playedFrames(file, signal) {
  const url = URL.createObjectURL(file);
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
  try {
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Error(`${file.name} is no video that this browser can play`));
      video.src = url;
    });
    const { videoWidth: width, videoHeight: height, duration } = video;
    const draw = (context) => context.drawImage(video, 0, 0, width, height);
    for (let at = 0; at === 0 || at / PLAYER_FPS < duration; at++) {
      if (signal.aborted) return;
      await new Promise((resolve) => {
        video.onseeked = resolve;
        video.currentTime = (at + 0.5) / PLAYER_FPS;
      });
      yield { seconds: at / PLAYER_FPS, width, height, draw, way: `the player's frames, ${PLAYER_FPS} per second` };
    }
  } finally {
    video.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
}

/** A camera; both panels share it. */
export class Camera {
  constructor() {
    this._video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    this._listeners = new Set();
    this._stream = null;
  }

  get isOn() {
    return this._stream !== null;
  }

  /**
   * Start the camera; a second call changes nothing.
   *
   * @throws {Error} there is none, or the person said no.
   */
  async start() {
    if (this.isOn) return;
    if (!navigator.mediaDevices) throw new Error("cameras need a page from https or from this computer");
    try {
      this._stream = await navigator.mediaDevices.getUserMedia(CAMERA);
    } catch (error) {
      throw new Error(cameraProblem(error), { cause: error });
    }
    this._video.srcObject = this._stream;
    await this._video.play();
    this._watch();
  }

  /** Turn the camera off. */
  stop() {
    this._stream?.getTracks().forEach((track) => track.stop());
    this._stream = null;
    this._video.srcObject = null;
  }

  /**
   * Call a function with each new frame; return a function that ends this.
   *
   * @param {(frame: {seconds: number, width: number, height: number, draw: Function}) => void} listener
   */
  onFrame(listener) {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  _watch() {
    const video = this._video;
    const tell = (seconds) => {
      if (!this.isOn) return;
      const { videoWidth: width, videoHeight: height } = video;
      const draw = (context) => context.drawImage(video, 0, 0, width, height);
      if (width) for (const listener of this._listeners) listener({ seconds, width, height, draw });
      next();
    };
    const hasCallback = "requestVideoFrameCallback" in video;
    const next = () =>
      hasCallback
        ? video.requestVideoFrameCallback((_, { mediaTime }) => tell(mediaTime))
        : requestAnimationFrame((now) => tell(now / 1000));
    next();
  }
}

function cameraProblem(error) {
  const problems = {
    NotAllowedError: "the browser does not let this page use the camera; allow it in the address bar",
    NotFoundError: "there is no camera",
    NotReadableError: "another program uses the camera",
  };
  return problems[error.name] ?? `the camera does not start: ${error.message}`;
}
