// Labels over time: segments, the scores of the best classes, and a slider that moves the video.

import { hueOf, make, percent, seconds } from "./elements.js";

const mostLines = 4;

/**
 * @param {object} result - of a label job.
 * @param {HTMLVideoElement|null} video - follows the slider, and moves it.
 */
export function timeline(result, video) {
  const end = result.times.length ? result.times.at(-1)[1] : 0;
  if (end <= 0) return make("p", { class: "muted", text: "The video is too short for labels over time." });
  const share = (time) => `${(100 * Math.min(1, Math.max(0, time / end))).toFixed(3)}%`;
  const cursor = make("div", { class: "cursor" });
  const slider = make("input", { type: "range", min: 0, max: end, step: 0.04, value: 0, "aria-label": "Time in the video", class: "time-slider" });
  const now = make("output", { class: "time-now muted small" });

  function seek(time) {
    slider.value = String(time);
    if (video) video.currentTime = time;
    follow(time);
  }
  function follow(time) {
    cursor.style.left = share(time);
    const segment = result.segments.find((each) => each.start <= time && time < each.end);
    now.textContent = `${seconds(time)} of ${seconds(end)}${segment ? ` · ${segment.label}` : ""}`;
    slider.setAttribute("aria-valuetext", now.textContent);
  }
  slider.addEventListener("input", () => {
    video?.pause();
    seek(Number(slider.value));
  });
  if (video) {
    video.addEventListener("timeupdate", () => {
      slider.value = String(video.currentTime);
      follow(video.currentTime);
    });
  }
  const strip = make("div", { class: "segments" }, ...result.segments.map((segment) => block(segment, result, share, seek)));
  if (result.segments.length === 0) strip.append(make("span", { class: "muted small none", text: "No class is sure enough for a segment." }));
  const shown = bestClasses(result);
  follow(0);
  return make(
    "div", { class: "over-time" },
    make("div", { class: "tracks" }, strip, curves(result, shown, end), cursor),
    slider,
    make("div", { class: "row spread" }, legend(result, shown), now),
  );
}

function block(segment, result, share, seek) {
  const number = result.classes.indexOf(segment.label);
  const score = segment.score === null ? "" : ` ${percent(segment.score)}`;
  const text = `${segment.label}, ${seconds(segment.start)} to ${seconds(segment.end)}${score}`;
  return make("button", {
    type: "button", class: "segment", text: segment.label, title: text, "aria-label": text,
    style: { left: share(segment.start), width: share(segment.end - segment.start), "--hue": hueOf(number) },
    on: { click: () => seek(segment.start) },
  });
}

/** Numbers of the classes that are ever best or strong, the strongest first. */
function bestClasses(result) {
  const tops = result.classes.map((_, number) => Math.max(0, ...result.along.map((scores) => scores[number])));
  return tops.map((_, number) => number).sort((one, other) => tops[other] - tops[one]).slice(0, mostLines);
}

function curves(result, shown, end) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "curves");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Scores over time of ${shown.map((number) => result.classes[number]).join(", ")}`);
  for (const number of [...shown].reverse()) {
    const line = document.createElementNS(space, "polyline");
    const points = result.times.flatMap(([from, to], place) => {
      const height = 98 - 96 * result.along[place][number];
      return [`${(1000 * from) / end},${height}`, `${(1000 * to) / end},${height}`];
    });
    line.setAttribute("points", points.join(" "));
    line.setAttribute("style", `--hue: ${hueOf(number)}`);
    svg.append(line);
  }
  return svg;
}

function legend(result, shown) {
  return make("ul", { class: "legend small" }, ...shown.map((number) =>
    make("li", {}, make("span", { class: "swatch", style: { "--hue": hueOf(number) } }), result.classes[number])));
}
