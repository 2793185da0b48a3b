// The panel "Compare": two runs side by side on the same video.

import { addPanel } from "../panels.js";
import { ended, events, start, state, upload } from "./api.js";
import { button, choice, filePicker, make, messageLine, setOptions } from "./elements.js";
import { jobStatus } from "./progress.js";
import { labelResult } from "./results.js";
import { runText } from "./videos.js";

export function addComparePanel() {
  const panel = addPanel("compare", "Compare");
  const video = choice("Video", []);
  const runs = [choice("First recognizer", []), choice("Second recognizer", [])];
  const protocol = choice("How thoroughly", []);
  const message = messageLine();
  const verdict = make("p", { class: "verdict", role: "status" });
  const sides = make("div", { class: "sides" });
  const go = button("Compare", () => compare().catch((error) => message.fail(error)), "primary");
  const few = make("div", { class: "card empty", hidden: true },
    make("h3", { text: "Comparing needs two recognizers" }),
    make("p", { class: "muted", text: "Train another one under “Label and train”, or name two at the start: hts app RUN OTHER." }));
  const form = make("div", { class: "card compare-form", hidden: true },
    make("label", {}, "Video", video, filePicker("Add a video", addVideo, { many: false })),
    make("label", {}, "First", runs[0]), make("label", {}, "Second", runs[1]),
    make("label", {}, "How thoroughly", protocol), go, message.element);
  panel.append(make("h2", { class: "spoken", text: "Compare" }), few, form, verdict, sides);

  async function addVideo(files) {
    message.say("Sending …");
    try {
      const added = await upload("videos", files[0]);
      state.videos.push(added);
      events.dispatchEvent(new Event("videos"));
      video.value = added.id;
      message.say("");
    } catch (error) {
      message.fail(error);
    }
  }

  async function compare() {
    message.say("");
    verdict.textContent = "";
    if (!video.value) throw new Error("add a video first");
    if (runs[0].value === runs[1].value) throw new Error("choose two different recognizers");
    go.disabled = true;
    const columns = runs.map((run) => side(run.selectedOptions[0].textContent));
    sides.replaceChildren(...columns.map((column) => column.element));
    try {
      const ids = [];
      for (const run of runs) ids.push(await start({ kind: "label", video: video.value, run: run.value, protocol: protocol.value }));
      const found = await Promise.all(ids.map((id, place) => columns[place].follow(id)));
      playTogether(sides.querySelectorAll("video"), columns.map((column) => column.element));
      if (found.every((job) => job.state === "done")) verdict.textContent = verdictOf(found.map((job) => job.result));
    } finally {
      go.disabled = false;
    }
  }

  events.addEventListener("videos", () => setOptions(video, [...state.videos].reverse().map((each) => [each.id, each.name])));
  events.addEventListener("runs", () => {
    const options = state.runs.map((run) => [run.id, runText(run)]);
    for (const run of runs) setOptions(run, options);
    if (runs[0].value === runs[1].value && options.length > 1) runs[1].value = options.find(([id]) => id !== runs[0].value)[0];
    setOptions(protocol, Object.entries(state.protocols).map(([name, text]) => [name, `${name} (${text})`]), protocol.value || "10x1");
    few.hidden = options.length > 1;
    form.hidden = options.length < 2;
  });
}

function side(title) {
  const status = jobStatus();
  const place = make("div");
  const element = make("section", { class: "card", "aria-label": title }, make("h3", { text: title }), status.element, place);
  async function follow(id) {
    const listener = (event) => event.detail.id === id && status.show(event.detail);
    events.addEventListener("job", listener);
    const job = await ended(id);
    events.removeEventListener("job", listener);
    status.show(job);
    if (job.state === "done") place.replaceChildren(labelResult(job, { canExplain: false }));
    return job;
  }
  return { element, follow };
}

/** Let two videos of the same length play as one: the one that was touched last leads. */
function playTogether([one, other], [first, second]) {
  if (!one || !other) return;
  let leader = one;
  for (const [video, element] of [[one, first], [other, second]]) {
    for (const event of ["pointerdown", "focusin", "input"]) element.addEventListener(event, () => { leader = video; }, true);
    const lead = () => {
      const follower = video === one ? other : one;
      if (video !== leader) return;
      if (Math.abs(follower.currentTime - video.currentTime) > 0.15) follower.currentTime = video.currentTime;
      if (video.paused !== follower.paused) {
        if (video.paused) follower.pause();
        else follower.play().catch(() => {});
      }
    };
    for (const event of ["play", "pause", "timeupdate", "seeked"]) video.addEventListener(event, lead);
  }
}

function verdictOf([one, other]) {
  const text = (result) => (result.known ? `“${result.best}”` : "“no class fits”");
  return text(one) === text(other) ? `Both say ${text(one)}.` : `They disagree: the first says ${text(one)}, the second ${text(other)}.`;
}
