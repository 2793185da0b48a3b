// The panel "Videos": add videos, label them by the full protocol, look at them.

import { addPanel } from "../panels.js";
import { addressOf, ask, ended, events, isActive, jobs, resultOf, start, state, upload } from "./api.js";
import { button, choice, duration, filePicker, make, messageLine, percent, sentence, setOptions, takesDrops } from "./elements.js";
import { jobStatus } from "./progress.js";
import { labelResult } from "./results.js";

export function addVideosPanel() {
  const panel = addPanel("videos", "Videos", { first: true });
  const run = choice("Recognizer", []);
  const protocol = choice("How thoroughly", []);
  const list = make("div", { class: "videos" });
  const message = messageLine();
  const cards = new Map();

  const add = async (files) => {
    message.say("");
    for (const file of files) await addOne(file);
  };
  const drop = make("div", { class: "drop" },
    make("p", { class: "drop-title", text: "Drop videos or a folder here" }),
    make("div", { class: "row" }, filePicker("Choose videos", add, { kind: "primary" }), filePicker("Choose a folder", add, { folder: true })),
    make("p", { class: "muted small limits" }));
  takesDrops(drop, add);
  // Until the server has said which runs there are, neither of the two is shown.
  const nothing = make("div", { class: "card empty", hidden: true },
    make("h3", { text: "There is no recognizer yet" }),
    make("p", { class: "muted", text: "Train one under “Label and train”, or start the application with a run: hts app RUN." }));
  const settings = make("div", { class: "row settings" }, make("label", {}, "Recognizer", run), make("label", {}, "How thoroughly", protocol));
  panel.append(make("h2", { class: "spoken", text: "Videos" }), nothing, make("div", { class: "card", hidden: true }, drop, settings, message.element), list);

  function showRuns() {
    setOptions(run, state.runs.map((each) => [each.id, runText(each)]));
    setOptions(protocol, Object.entries(state.protocols).map(([name, text]) => [name, `${name} (${text})`]), protocol.value || "10x1");
    nothing.hidden = state.runs.length > 0;
    drop.parentElement.hidden = state.runs.length === 0;
    drop.querySelector(".limits").textContent =
      `Up to ${(state.limits.bytes / 1e6).toLocaleString()} MB and ${duration(state.limits.seconds)} each. Videos are deleted when the application ends.`;
  }

  async function addOne(file) {
    const waiting = make("article", { class: "card video-card" }, make("h3", { text: file.name }), make("p", { class: "muted", text: "Sending …" }));
    list.prepend(waiting);
    try {
      const video = await upload("videos", file, (share) => {
        waiting.lastElementChild.textContent = share < 1 ? `Sending … ${percent(share)}` : "Looking at it …";
      });
      state.videos.push(video);
      waiting.remove();
      show(video);
      events.dispatchEvent(new Event("videos"));
      await label(video);
    } catch (error) {
      waiting.remove();
      refuse(file.name, error);
    }
  }

  function refuse(name, error) {
    const card = make("article", { class: "card video-card refused", role: "alert" },
      make("div", { class: "row spread" }, make("h3", { text: name }), button("Dismiss", () => card.remove(), "quiet")),
      make("p", { class: "bad", text: sentence(error.message) }));
    list.prepend(card);
  }

  function show(video) {
    if (cards.has(video.id)) return;
    const card = videoCard(video, () => label(video), () => remove(video));
    cards.set(video.id, card);
    list.prepend(card.element);
  }

  async function label(video) {
    const card = cards.get(video.id);
    try {
      card.follow(await start({ kind: "label", video: video.id, run: run.value, protocol: protocol.value }));
    } catch (error) {
      card.say(error);
    }
  }

  async function remove(video) {
    try {
      await ask("DELETE", `videos/${video.id}`);
    } catch (error) {
      cards.get(video.id).say(error);
      return;
    }
    cards.get(video.id).element.remove();
    cards.delete(video.id);
    state.videos = state.videos.filter((each) => each.id !== video.id);
    events.dispatchEvent(new Event("videos"));
  }

  function showAll() {
    for (const video of state.videos) show(video);
    for (const job of jobs.values()) {
      if (job.kind === "label") cards.get(job.about.video)?.follow(job.id, true);
    }
  }

  events.addEventListener("runs", showRuns);
  let isFirst = true;
  events.addEventListener("videos", () => {
    if (isFirst) showAll();
    isFirst = false;
  });
}

/** Name, classes and accuracy of a run in a few words. */
export const runText = (run) =>
  `${run.name} · ${run.classes.length} classes${run.accuracy === null ? "" : ` · ${percent(run.accuracy)} in its test`}`;

function videoCard(video, onAgain, onRemove) {
  const status = jobStatus();
  const message = messageLine();
  const place = make("div");
  const again = button("Label again", onAgain, "quiet");
  const used = make("span", { class: "muted small" });
  let current = null;
  status.element.hidden = true;
  const element = make("article", { class: "card video-card", "aria-label": video.name },
    make("div", { class: "row spread video-head" },
      make("div", { class: "row" },
        make("img", { class: "thumb", src: addressOf(`videos/${video.id}/thumbnail`), alt: "" }),
        make("div", {}, make("h3", { text: video.name }),
          make("p", { class: "muted small facts" }, `${video.width} × ${video.height} px, ${duration(video.seconds)} `, used))),
      make("div", { class: "row" }, again, button("Remove", onRemove, "quiet"))),
    status.element, message.element, place);

  async function follow(id, isOld = false) {
    current = id;
    const job = jobs.get(id);
    message.say("");
    const runName = state.runs.find((run) => run.id === job.about.run)?.name ?? "";
    used.textContent = runName ? `· by ${runName}` : "";
    status.show(job);
    again.disabled = isActive(job);
    if (!isOld) place.replaceChildren();
    const found = await ended(id).catch((error) => ({ state: "failed", error: error.message, id }));
    if (current !== id) return;
    status.show(found);
    if (found.state === "done") place.replaceChildren(labelResult(found));
  }
  /** Show the label as soon as it is known; the motion is still being drawn. */
  async function showEarly(id) {
    const found = await resultOf(id);
    if (current === id && found.result && place.childElementCount === 0) place.replaceChildren(labelResult(found));
  }
  events.addEventListener("job", (event) => {
    if (event.detail.id === current) {
      if (event.detail.state === "running" && event.detail.has_result) showEarly(current).catch(() => {});
      status.show(event.detail);
      again.disabled = isActive(event.detail);
    }
  });
  return { element, follow, say: (error) => message.fail(error) };
}

