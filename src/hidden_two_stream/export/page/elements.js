// Small helpers to build the page.

/**
 * Return an element.
 *
 * @param {string} tag - its name, with classes: "p.muted.small".
 * @param {Record<string, any>} [properties] - properties; those with a dash become attributes.
 * @param {...(Node|string)} children
 */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** Return a button. */
export function button(text, onClick, kind = "") {
  return element(`button.button${kind ? `.${kind}` : ""}`, { type: "button", onclick: onClick }, text);
}

/** Return a button that lets the person choose files; `onFiles` gets an array of them. */
export function fileButton(text, onFiles, { accept = "video/*,.avi,.mkv", multiple = false, label = text } = {}) {
  const id = `files-${fileButton.count++}`;
  const input = element("input", { type: "file", id, accept, multiple, "aria-label": label });
  input.onchange = () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) onFiles(files);
  };
  return element("span", {}, input, element("label.button", { for: id }, text));
}
fileButton.count = 0;

/** Return a list of bars, one for each score, the greatest first. */
export function scoreBars(classes, scores, most = 5) {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]).slice(0, most);
  return element("ul.bars", {}, ...order.map((at) => scoreBar(classes[at], scores[at])));
}

function scoreBar(name, score) {
  const percent = `${(100 * score).toFixed(0)} %`;
  const fill = element("span");
  fill.style.width = `${100 * score}%`;
  return element(
    "li", {},
    element("span.name", { title: name }, name),
    element("span.bar", { "aria-hidden": "true" }, fill),
    element("span.number", {}, percent),
  );
}

/** Return a color for a class, the same at each call. */
export function classColor(at) {
  return `hsl(${(at * 137.508 + 225) % 360} 62% 55%)`;
}

/** Write a message for the person; problems stand out. */
export function say(place, text, isProblem = false) {
  place.textContent = text;
  place.classList.toggle("bad", isProblem);
}
