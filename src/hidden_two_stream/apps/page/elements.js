// Small helpers to make elements.

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {object} attributes - "class", "text", "on": {event: listener}; others are attributes; null: left out.
 * @param {...(Node|string|null)} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, setting] of Object.entries(value)) element.style.setProperty(key, setting);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (text, onClick, kind = "") =>
  make("button", { type: "button", class: `button ${kind}`.trim(), text, on: { click: onClick } });

/** A <select> of [value, text] pairs. */
export function choice(label, options, chosen = null) {
  const select = make("select", { "aria-label": label });
  setOptions(select, options, chosen);
  return select;
}

export function setOptions(select, options, chosen = null) {
  const wanted = chosen ?? select.value;
  select.replaceChildren(...options.map(([value, text]) => make("option", { value, text })));
  if (options.some(([value]) => value === wanted)) select.value = wanted;
}

/** A button that opens a file dialog; `onFiles` gets an array of files. */
export function filePicker(text, onFiles, { kind = "", folder = false, many = true, label = text } = {}) {
  const input = make("input", {
    type: "file", accept: folder ? null : "video/*,.avi,.mkv,.webm,.mov,.mp4", multiple: many, webkitdirectory: folder,
    "aria-label": label, tabindex: -1, class: "hidden-input",
  });
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = "";
  });
  return make("span", { class: "picker" }, input, button(text, () => input.click(), kind));
}

/** Let files be dropped on an element; of a dropped folder, all files below it are taken. */
export function takesDrops(element, onFiles) {
  const over = (isOver) => (event) => {
    event.preventDefault();
    element.classList.toggle("over", isOver);
  };
  element.addEventListener("dragenter", over(true));
  element.addEventListener("dragover", over(true));
  element.addEventListener("dragleave", over(false));
  element.addEventListener("drop", async (event) => {
    over(false)(event);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    onFiles(entries.some((entry) => entry.isDirectory) ? (await Promise.all(entries.map(filesBelow))).flat() : files);
  });
}

async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    found.push(...some);
  }
  return (await Promise.all(found.filter((each) => !each.name.startsWith(".")).map(filesBelow))).flat();
}

/** A line for errors and news that screen readers say. */
export function messageLine() {
  const line = make("p", { class: "message", role: "status", "aria-live": "polite" });
  return {
    element: line,
    say(text, isBad = false) {
      line.textContent = text;
      line.classList.toggle("bad", isBad);
    },
    fail(error) {
      this.say(sentence(error.message), true);
    },
  };
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

export const percent = (share) => `${Math.round(100 * share)} %`;

export const seconds = (time) => `${time.toFixed(time < 100 ? 1 : 0)} s`;

export function duration(time) {
  if (time < 100) return `${Math.max(1, Math.round(time))} s`;
  return time < 6000 ? `${Math.round(time / 60)} min` : `${(time / 3600).toFixed(1)} h`;
}

/** A color for a class that is the same everywhere and differs from its neighbors'. */
export const hueOf = (number) => String(Math.round((225 + number * 137.508) % 360));
