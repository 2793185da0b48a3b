// The state of a job in words and as a bar.

import { cancel, isActive } from "./api.js";
import { button, duration, make, sentence } from "./elements.js";

/** Show a job that has not ended well yet; returns an element with a method `show(job)`. */
export function jobStatus() {
  const words = make("p", { class: "job-words", role: "status" });
  const fill = make("span");
  const bar = make("div", { class: "bar job-bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  let id = null;
  const stop = button("Cancel", () => cancel(id).catch(() => {}), "quiet");
  const element = make("div", { class: "job" }, make("div", { class: "row spread" }, words, stop), bar);

  function show(job) {
    id = job.id;
    const active = isActive(job);
    element.hidden = job.state === "done";
    stop.hidden = !active;
    bar.hidden = !active;
    words.classList.toggle("bad", job.state === "failed");
    const text = wordsOf(job);
    if (words.textContent !== text) words.textContent = text;
    const progress = job.progress;
    const share = job.state === "running" && progress?.total ? progress.done / progress.total : 0;
    bar.classList.toggle("waiting", job.state === "running" && (progress === null || progress.total === 1));
    fill.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  }
  return { element, show };
}

function wordsOf(job) {
  if (job.state === "queued") return job.position === 1 ? "Waiting: next in line" : `Waiting: number ${job.position} in line`;
  if (job.state === "cancelled") return "Cancelled.";
  if (job.state === "failed") return sentence(job.error);
  if (job.progress === null) return "Starting …";
  const { title, done, total, note } = job.progress;
  const count = total > 1 && job.kind === "train" ? ` ${done} of ${total}` : "";
  const left = job.seconds_left !== null && job.seconds_left > 3 ? ` · about ${duration(job.seconds_left)} left` : "";
  return `${sentenceStart(titles[title] ?? title)}${count}${note ? ` · ${note}` : ""}${left}`;
}

const titles = {
  decode: "Reading the clips",
  motion: "Learning motion",
  spatial: "Learning the look (spatial stream)",
  temporal: "Learning the motion (temporal stream)",
  joint: "Training both together",
  evaluate: "Testing on held-out clips",
  Scores: "Recognizing",
  Evidence: "Looking for the evidence",
};

const sentenceStart = (text) => text.charAt(0).toUpperCase() + text.slice(1);
