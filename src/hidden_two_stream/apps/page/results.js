// The result of a label job: the answer, scores of each stream, the hidden motion, labels over time, and why.

import { addressOf, ended, events, start } from "./api.js";
import { button, choice, hueOf, make, messageLine, percent, seconds, sentence } from "./elements.js";
import { jobStatus } from "./progress.js";
import { timeline } from "./timeline.js";

const mostBars = 5;

/** Show the result of a label job. */
export function labelResult(job, { canExplain = true } = {}) {
  const result = job.result;
  const figure = motionFigure(job);
  const parts = [
    make("div", { class: "columns result-head" }, figure.element, make("div", {}, answer(result), bars(result))),
    ...result.warnings.map((text) => make("p", { class: "note", text: `Note: ${sentence(text)}` })),
    make("h4", { text: "Labels over time" }),
    timeline(result, figure.video),
  ];
  if (canExplain && result.preview !== null) parts.push(why(job));
  return make("div", { class: "result" }, ...parts);
}

/** The label, big, with its score. */
export function answer(result) {
  const text = result.known ? result.best : "No class fits";
  const more = result.known ? `${percent(result.score)} · ${protocolText(result)}` : `best: ${result.best}, ${percent(result.score)}`;
  return make("div", { class: "answer-block" },
    make("p", { class: "answer", text, role: "status" }),
    make("p", { class: "muted small", text: more }));
}

const protocolText = (result) => `${result.num_frames} frames, protocol ${result.protocol}`;

/** Fused scores as bars, with a thin bar for each stream below. */
export function bars(result) {
  const order = result.scores.map((_, number) => number).sort((one, other) => result.scores[other] - result.scores[one]);
  const streams = Object.keys(result.streams);
  const list = make("ul", { class: "bars scores" }, ...order.slice(0, mostBars).map((number) => {
    const rows = streams.map((name) => make("div", { class: `thin ${name}`, title: `${name} ${percent(result.streams[name][number])}` },
      make("span", { style: { width: `${100 * result.streams[name][number]}%` } })));
    const spoken = streams.map((name) => `, ${name} stream ${percent(result.streams[name][number])}`).join("");
    return make("li", {},
      make("span", { class: "name", text: result.classes[number], title: result.classes[number] }),
      make("div", {}, make("div", { class: "bar" }, make("span", { style: { width: `${100 * result.scores[number]}%`, "--hue": hueOf(number) } })), ...rows),
      make("span", { class: "number" }, percent(result.scores[number]), make("span", { class: "spoken", text: spoken })));
  }));
  const rest = order.length - mostBars;
  return make("div", {}, list,
    streams.length > 1 ? make("ul", { class: "legend small" },
      ...streams.map((name) => make("li", {}, make("span", { class: `swatch ${name}` }), streamNames[name] ?? name))) : null,
    rest > 0 ? make("p", { class: "muted small", text: `and ${rest} more ${rest === 1 ? "class" : "classes"} below` }) : null);
}

const streamNames = { spatial: "look (spatial stream)", temporal: "motion (temporal stream)" };

function motionFigure(job) {
  const preview = job.result.preview;
  if (preview === null) {
    const text = "The hidden motion is being drawn …";
    return { video: null, element: make("figure", { class: "motion pending" }, make("div", { class: "pending-motion muted", text })) };
  }
  const video = make("video", {
    src: addressOf(`jobs/${job.id}/files/${preview.file}`), controls: true, loop: true, playsinline: true,
    width: preview.width, height: preview.height, "aria-label": `${job.result.name}, with its hidden motion in color`,
  });
  video.muted = true;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.autoplay = true;
  const caption = preview.max_px === null
    ? "This run has no motion network."
    : "Right: the hidden motion. The color is the direction, its strength the speed.";
  return { video, element: make("figure", { class: "motion" }, video, make("figcaption", { class: "small", text: caption })) };
}

/** A button that explains the score of a class, and the explanation below it. */
function why(job) {
  const { video, run } = job.about;
  const label = choice("Class to explain", job.result.classes.map((name) => [name, name]), job.result.best);
  const place = make("div", { class: "explanation", "aria-live": "polite" });
  const message = messageLine();
  const ask = button("Why?", async () => {
    ask.disabled = true;
    message.say("");
    const status = jobStatus();
    place.replaceChildren(status.element);
    let listener = null;
    try {
      const id = await start({ kind: "explain", video, run, label: label.value });
      listener = (event) => event.detail.id === id && status.show(event.detail);
      events.addEventListener("job", listener);
      const explained = await ended(id);
      status.show(explained);
      if (explained.state === "done") place.replaceChildren(explanation(explained));
    } catch (error) {
      place.replaceChildren();
      message.fail(error);
    } finally {
      if (listener) events.removeEventListener("job", listener);
      ask.disabled = false;
    }
  });
  return make("div", { class: "why" },
    make("div", { class: "row" }, make("h4", { text: "Why did it say that?" }), label, ask),
    message.element, place);
}

function explanation(job) {
  const result = job.result;
  const rows = result.windows.map((window) => make("div", { class: "why-window" },
    make("p", { class: "small muted", text: `${seconds(window.start)} to ${seconds(window.end)} · ${result.label} ${percent(window.scores.fused)}` }),
    make("div", { class: "why-pictures" }, ...window.pictures.map((picture) => make("figure", {},
      make("img", { src: addressOf(`jobs/${job.id}/files/${picture.file}`), alt: `${picture.title}, ${seconds(window.start)} to ${seconds(window.end)}`, loading: "lazy" }),
      make("figcaption", { class: "small", text: picture.title }))))));
  const more = result.num_windows > result.windows.length ? ` ${result.windows.length} of ${result.num_windows} windows are shown.` : "";
  return make("div", {},
    make("p", { class: "small muted", text: `Red marks where the evidence for “${result.label}” is.${more}` }),
    make("div", { class: "why-windows" }, ...rows),
    make("h5", { text: "When it matters" }),
    make("p", { class: "small muted", text: `How much the score falls if nothing moves in a part of the video. ${mostText(result)}` }),
    drops(result));
}

function mostText(result) {
  const stretch = result.stretches[result.strongest];
  const points = Math.round(100 * stretch.drops.fused);
  const when = `${seconds(stretch.start_seconds)} to ${seconds(stretch.end_seconds)}`;
  return points > 0 ? `Most from ${when}: ${points} ${points === 1 ? "point" : "points"}.` : "No single part is needed.";
}

function drops(result) {
  const most = Math.max(0.1, ...result.stretches.map((stretch) => Math.abs(stretch.drops.fused)));
  return make("ol", { class: "drops" }, ...result.stretches.map((stretch, number) => {
    const drop = stretch.drops.fused;
    const text = `${seconds(stretch.start_seconds)} to ${seconds(stretch.end_seconds)}: ${drop >= 0 ? "−" : "+"}${Math.abs(100 * drop).toFixed(0)} points`;
    return make("li", { class: number === result.strongest ? "strongest" : null, title: text },
      make("span", { class: drop < 0 ? "rise" : null, style: { height: `${Math.max(2, (100 * Math.abs(drop)) / most)}%` } }),
      make("span", { class: "spoken", text }),
      make("span", { class: "small muted at", "aria-hidden": "true", text: stretch.start_seconds.toFixed(1) }));
  }));
}
