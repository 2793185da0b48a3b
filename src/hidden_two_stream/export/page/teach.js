// The panel that teaches: clips of each class from the camera or files, tested at once, saved as one file.

import { button, classColor, element, fileButton, say } from "./elements.js";
import { Lesson } from "./lesson.js";
import { addPanel, onPanelShown, showPanel } from "./panels.js";
import { Recognizer } from "./recognizer.js";
import { fileFrames, Grabber } from "./video.js";

const NAME = "what you taught";
const PAUSE_SECONDS = 2;
const LENGTHS = [1, 2, 3, 5];
const IN_A_ROW = [1, 4, 8];
const RATES = [0, 30, 25, 15, 10];
const MOST_SECONDS = 60;
const THUMBNAIL = { width: 88, height: 66 };

export class TeachPanel {
  /**
   * @param {import("./network.js").Network} network
   * @param {import("./video.js").Camera} camera
   * @param {import("./recognize.js").RecognizePanel} recognize
   */
  constructor(network, camera, recognize) {
    this._camera = camera;
    this._recognize = recognize;
    this._grabber = new Grabber(network);
    this.lesson = new Lesson(network);
    this.lesson.classes = ["", ""];
    this._busy = false;
    this._build(addPanel("teach", "Teach"));
    onPanelShown((id) => (id === "teach" ? this._preview() : this._endPreview?.()));
    this._refresh();
    this.refit();
  }

  /**
   * Add video files as clips of a class.
   *
   * @param {number} label - number of the class.
   * @param {File[]} files
   */
  addFiles(label, files) {
    return this._working(async () => {
      const problems = [];
      for (const [n, file] of files.entries()) {
        say(this._status, `Reading ${file.name} (${n + 1} of ${files.length}) …`);
        try {
          const { frames, thumbnail, cut } = await this._read(file);
          await this.lesson.add(label, file.name, frames, thumbnail);
          if (cut) problems.push(`${file.name} is longer than ${MOST_SECONDS} s: only its beginning is used`);
        } catch (error) {
          problems.push(error.message);
        }
      }
      return problems;
    });
  }

  /** Fit and test again, and show the result. */
  refit() {
    const reason = this.lesson.missing();
    this._result.hidden = reason !== null;
    this._saveButton.disabled = reason !== null;
    if (reason) {
      this.lesson.taught = null;
      this._recognize.withdraw(NAME);
      return say(this._status, reason);
    }
    const taught = this.lesson.fit();
    this._recognize.offer(NAME, new Recognizer(this.lesson.network, taught), true);
    this._showResult(taught);
    return undefined;
  }

  async _read(file) {
    const frames = [];
    let thumbnail = "", cut = false;
    const stop = new AbortController();
    for await (const frame of fileFrames(file, stop.signal)) {
      if (frame.seconds > MOST_SECONDS) {
        cut = true;
        stop.abort();
        break;
      }
      frames.push({ seconds: frame.seconds, frame: this._grabber.grab(frame.width, frame.height, frame.draw) });
      if (frames.length % 8 === 1) thumbnail = this._picture();
    }
    if (!frames.length) throw new Error(`${file.name} has no frames`);
    return { frames, thumbnail, cut };
  }

  async _record(label) {
    await this._working(async () => {
      await this._camera.start();
      this._showPreview();
      const count = Number(this._inARow.value);
      for (let n = 0; n < count; n++) {
        await this._countDown();
        const { frames, thumbnail } = await this._recorded(Number(this._length.value));
        say(this._status, `Looking at clip ${n + 1} of ${count} …`);
        const number = this.lesson.clips.filter((clip) => clip.label === label).length + 1;
        await this.lesson.add(label, `clip ${number}`, frames, thumbnail);
        this._refresh();
      }
      return [];
    });
  }

  _recorded(seconds) {
    return new Promise((resolve) => {
      const frames = [];
      let thumbnail = "";
      say(this._status, "Recording …");
      this._over.textContent = "●";
      const end = this._camera.onFrame((frame) => {
        frames.push({ seconds: frame.seconds, frame: this._grabber.grab(frame.width, frame.height, frame.draw) });
        if (frames.length === 1 || frame.seconds - frames[0].seconds < seconds / 2) thumbnail = this._picture();
        if (frame.seconds - frames[0].seconds < seconds) return;
        end();
        this._over.textContent = "";
        resolve({ frames, thumbnail });
      });
    });
  }

  async _countDown() {
    for (let left = PAUSE_SECONDS; left > 0; left--) {
      this._over.textContent = String(left);
      say(this._status, `Recording begins in ${left} s.`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  /** Do one thing at a time; problems are shown, and what was added is fitted. */
  async _working(work) {
    if (this._busy) return;
    this._busy = true;
    this._refresh();
    let problems;
    try {
      problems = await work();
    } catch (error) {
      problems = [error.message];
    }
    this._busy = false;
    this._over.textContent = "";
    this._refresh();
    this.refit();
    if (problems.length) say(this._status, problems.join("; "), true);
  }

  _picture() {
    const { width, height } = THUMBNAIL;
    const canvas = element("canvas", { width, height });
    canvas.getContext("2d").drawImage(this._grabber.canvas, 0, 0, width, height);
    return canvas.toDataURL("image/jpeg", 0.7);
  }

  _preview() {
    if (this._camera.isOn) this._showPreview();
  }

  _showPreview() {
    this._endPreview?.();
    this._screen.hidden = false;
    this._endPreview = this._camera.onFrame(({ width, height, draw }) => {
      Object.assign(this._canvas, this._canvas.width === width ? {} : { width, height });
      draw(this._canvas.getContext("2d"));
    });
  }

  // -- the page ------------------------------------------------------------------------------------

  _refresh() {
    const { lesson } = this;
    this._cards.replaceChildren(...lesson.classes.map((name, at) => this._card(name, at)));
    this._rate.disabled = this._busy || lesson.clips.length > 0;
    this._rate.value = String(lesson.fps);
    this._mirror.checked = lesson.mirror;
    this._addButton.disabled = this._busy;
  }

  _card(name, at) {
    const { lesson, _busy: disabled } = this;
    const clips = lesson.clips.filter((clip) => clip.label === at);
    const title = name || `class ${at + 1}`;
    const input = element("input", {
      type: "text", value: name, placeholder: "Name, such as wave", "aria-label": `Name of class ${at + 1}`,
      onchange: () => {
        lesson.classes[at] = input.value;
        this._refresh();
        this.refit();
      },
    });
    const remove = button("Remove class", () => {
      lesson.removeClass(at);
      this._refresh();
      this.refit();
    }, "quiet");
    const record = button("Record", () => this._record(at), "primary");
    const files = fileButton("Add files", (chosen) => this.addFiles(at, chosen), { multiple: true, label: `Add files to ${title}` });
    record.setAttribute("aria-label", `Record ${title}`);
    remove.setAttribute("aria-label", `Remove ${title}`);
    for (const control of [remove, record, files.querySelector("input")]) control.disabled = disabled;
    const dot = element("span", { "aria-hidden": "true" });
    dot.style.cssText = `width: .8rem; height: .8rem; border-radius: 50%; background: ${classColor(at)}`;
    return element(
      "div.card", {},
      element("div.class-head", {}, dot, input, remove),
      element("div.row", {}, record, files, element("span.muted.small", {}, `${clips.length} clip${clips.length === 1 ? "" : "s"}`)),
      element("ul.clips", {}, ...clips.map((clip) => this._thumbnail(clip, title))),
    );
  }

  _thumbnail(clip, title) {
    const remove = element("button", { type: "button", title: "Remove", "aria-label": `Remove ${clip.name} of ${title}`, disabled: this._busy }, "×");
    remove.onclick = () => {
      this.lesson.remove(clip);
      this._refresh();
      this.refit();
    };
    const at = this.lesson.clips.indexOf(clip);
    const isWrong = this.lesson.taught?.right[at] === false;
    const image = element("img", { src: clip.thumbnail, alt: "" });
    if (isWrong) image.style.outline = "3px solid var(--bad)";
    return element("li", { title: isWrong ? `${clip.name}: mistaken when it was left out` : clip.name }, image, remove, element("span.name", {}, clip.name));
  }

  _showResult(taught) {
    const { classes, confusion, accuracy, milliseconds } = taught;
    const count = this.lesson.clips.length;
    const right = Math.round(accuracy * count);
    this._summary.textContent = `${right} of ${count} clips recognized, each by a recognizer that had not seen that clip.`;
    const head = element("tr", {}, element("th", { scope: "col" }, "is \\ seen as"), ...classes.map((name) => element("th", { scope: "col" }, name)));
    const rows = classes.map((name, at) =>
      element("tr", {}, element("th", { scope: "row" }, name), ...confusion[at].map((value, k) => {
        const cell = element("td", {}, String(value));
        if (value) cell.className = k === at ? "good" : "bad";
        return cell;
      })),
    );
    this._table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
    this._refresh();
    say(this._status, `Trained and tested in ${(milliseconds / 1000).toFixed(2)} s.`);
  }

  async _save() {
    try {
      const url = URL.createObjectURL(new Blob([await this.lesson.save()], { type: "application/octet-stream" }));
      element("a", { href: url, download: "taught.safetensors" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      say(this._status, "Saved. In Python: hts import-web taught.safetensors -o runs/taught");
    } catch (error) {
      say(this._status, error.message, true);
    }
  }

  async _open(file) {
    try {
      this.lesson.open(new Uint8Array(await file.arrayBuffer()));
    } catch (error) {
      return say(this._status, `${file.name}: ${error.message}`, true);
    }
    this._refresh();
    return this.refit();
  }

  _build(panel) {
    this._cards = element("div.columns");
    this._canvas = element("canvas", { role: "img", "aria-label": "What the camera shows" });
    this._over = element("div.over", { "aria-hidden": "true" });
    this._screen = element("div.screen", { hidden: true }, this._canvas, this._over);
    this._screen.style.maxWidth = "24rem";
    this._screen.style.marginBottom = "1rem";
    this._status = element("p.card.muted", { role: "status" });
    this._length = choice(LENGTHS, 2, (seconds) => `${seconds} s`);
    this._inARow = choice(IN_A_ROW, 1, (count) => (count === 1 ? "one clip" : `${count} clips in a row`));
    this._rate = choice(RATES, 0, (fps) => (fps ? `${fps} frames per second` : "every frame"));
    this._rate.onchange = () => (this.lesson.fps = Number(this._rate.value));
    this._mirror = element("input", { type: "checkbox", onchange: () => {
      this.lesson.mirror = this._mirror.checked;
      this.refit();
    } });
    this._addButton = button("Add a class", () => {
      this.lesson.classes.push("");
      this._refresh();
      this.refit();
      this._cards.lastElementChild.querySelector("input").focus();
    });
    this._saveButton = button("Save the project", () => this._save());
    this._summary = element("p");
    this._table = element("table");
    this._result = element(
      "div.card", { hidden: true },
      element("h2", {}, "How well it works"), this._summary, element("div.scroll", {}, this._table),
      element("div.row", {}, button("Try it", () => showPanel("recognize"), "primary")),
    );
    this._result.lastElementChild.style.marginTop = ".8rem";
    panel.append(
      element(
        "div.card", {},
        element("p", {}, "Show it four to eight clips of each movement. Each clip shows one movement, from different places or people if you can. A class for “nothing” helps."),
        element("div.row", {}, element("label", {}, "Record", this._inARow), element("label", {}, "of", this._length), element("label", {}, "at", this._rate)),
        element("div.row", {}, element("label", {}, this._mirror, "Left and right are the same movement (learn from mirror images, too)")),
      ),
      this._screen, this._cards,
      element("div.card.row", {}, this._addButton, fileButton("Open a project", ([file]) => this._open(file), { accept: ".safetensors" }), this._saveButton),
      this._status, this._result,
    );
  }
}

function choice(values, chosen, text) {
  const select = element("select", {}, ...values.map((value) => element("option", { value: String(value) }, text(value))));
  select.value = String(chosen);
  return select;
}
