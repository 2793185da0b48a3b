// Records clips with the camera.

import { button, make } from "./elements.js";

const countdown = 2; // s
const length = 2; // s
const kinds = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];

/**
 * A button that starts the camera, and its picture. `record` returns a File after a countdown.
 *
 * @param {{say: (text: string, isBad?: boolean) => void, fail: (error: Error) => void}} message
 * @param {(isOn: boolean) => void} onChange - called when the camera starts or stops.
 */
export function cameraRecorder(message, onChange) {
  const picture = make("video", { playsinline: true, "aria-label": "Picture of the camera" });
  picture.muted = true;
  const count = make("span", { class: "count", role: "status" });
  const screen = make("div", { class: "camera", hidden: true }, picture, count);
  const toggle = button("Use the camera", () => (stream ? stop() : begin()));
  const element = make("div", { class: "camera-row" }, toggle, screen);
  let stream = null;
  let isBusy = false;

  async function begin() {
    try {
      if (!navigator.mediaDevices) throw new Error("this browser gives no camera to this address; open the page by http://127.0.0.1");
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
      picture.srcObject = stream;
      await picture.play();
      message.say("");
    } catch (error) {
      stream = null;
      message.fail(error.name === "NotAllowedError" ? new Error("the browser was not allowed to use the camera")
        : error.name === "NotFoundError" ? new Error("there is no camera") : error);
      return;
    }
    show();
  }

  function stop() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    picture.srcObject = null;
    show();
  }

  function show() {
    screen.hidden = stream === null;
    toggle.textContent = stream ? "Stop the camera" : "Use the camera";
    onChange(stream !== null);
  }

  async function record() {
    if (isBusy) throw new Error("a clip is being recorded already");
    isBusy = true;
    try {
      for (let left = countdown; left > 0; left--) {
        count.textContent = String(left);
        await wait(1);
      }
      count.textContent = "●";
      const type = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
      const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 2_500_000 });
      const chunks = [];
      recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
      const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve));
      const started = new Promise((resolve) => recorder.addEventListener("start", resolve));
      recorder.start();
      await started;
      await wait(length);
      recorder.stop();
      await ended;
      const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
      return new File(chunks, `camera ${time}.${type.includes("mp4") ? "mp4" : "webm"}`, { type });
    } finally {
      count.textContent = "";
      isBusy = false;
    }
  }
  return { element, record, get isOn() { return stream !== null; } };
}

const wait = (time) => new Promise((resolve) => setTimeout(resolve, 1000 * time));
