// The panel that says what this recognizer is, and how it computes.

import { button, element, say } from "./elements.js";
import { addPanel } from "./panels.js";

export class AboutPanel {
  /** @param {import("./network.js").Network} network */
  constructor(network) {
    this._network = network;
    const { classes, provenance, recipe } = network.description;
    const facts = [
      ["Classes", `${classes.length}: ${classes.join(", ")}`],
      ["Training data", [provenance.data, provenance.data_license].filter(Boolean).join(", license: ") || "not stated"],
      ["Training videos", String(provenance.num_training_videos || "not stated")],
      ["Test", provenance.split || "not stated"],
      ["Streams", network.streams.join(" and ")],
      ["Networks", `${recipe.model.motion} (motion), ${recipe.model.temporal}`],
      ["Window", `${network.length} frames of ${network.size} × ${network.size} px`],
      ["Size", `${(network.numBytes / 1e6).toFixed(1)} MB`],
    ];
    this._runtime = element("dd");
    this._status = element("p.muted", { role: "status" });
    addPanel("about", "About").append(
      element(
        "div.card", {}, element("h2", {}, "This recognizer"),
        element("dl.facts", {}, ...facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]), element("dt", {}, "Computes with"), this._runtime),
      ),
      element(
        "div.card", {}, element("h2", {}, "Graphics processor"),
        element("p", {}, "WebGPU can be faster. It is used only if it gives the same scores."),
        button("Compare and use WebGPU", () => this._tryWebGpu()), this._status,
      ),
      element(
        "div.card", {}, element("h2", {}, "Privacy"),
        element("p", {}, "Frames are looked at on this device and go nowhere else. The page loads nothing from other hosts."),
      ),
    );
    this.refresh();
  }

  /** Show how the network computes now. */
  refresh() {
    const { provider, threads } = this._network;
    const isolated = self.crossOriginIsolated;
    const more = !isolated && "serviceWorker" in navigator && navigator.serviceWorker.controller ? "; reload the page to use more threads" : "";
    const text = provider === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}${more}`;
    this._runtime.textContent = text;
    document.getElementById("runtime").textContent = `Computes with ${text}.`;
  }

  async _tryWebGpu() {
    say(this._status, "Comparing …");
    const { length, size } = this._network;
    const clip = Array.from({ length }, (_, t) => Uint8Array.from({ length: 3 * size * size }, (_, at) => (at * 31 + t * 7) % 256));
    try {
      const { difference, before, after } = await this._network.useWebGpu(clip);
      say(this._status, `Same scores (largest difference ${difference.toPrecision(1)}). ${before.toFixed(0)} → ${after.toFixed(0)} ms a window.`);
    } catch (error) {
      say(this._status, `Not used: ${error.message}.`, true);
    }
    this.refresh();
  }
}
