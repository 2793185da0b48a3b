// Marks parts of a longer video: play, set start and end, name the movement.

import { addressOf, ask, ended, start, upload } from "./api.js";
import { button, choice, duration, filePicker, hueOf, make, messageLine, seconds, setOptions } from "./elements.js";

/** @param {string} id - of the project. @param {(project: object) => void} take - gets the changed project. */
export function marker(id, take) {
  let project = null;
  let clip = null;
  const which = choice("Video to mark", []);
  const message = messageLine();
  const video = make("video", { controls: true, playsinline: true, "aria-label": "The video to mark" });
  video.muted = true;
  const from = timeField("Start", "i", () => video);
  const to = timeField("End", "o", () => video);
  const label = choice("Movement", []);
  const marks = make("div", { class: "segments marks" });
  const list = make("ul", { class: "mark-list" });
  const addMark = button("Add this part", () => attempt(() => {
    const part = { start: from.value(), end: to.value(), label: label.value };
    if (!part.label) throw new Error("add a class first");
    return save([...clip.intervals, part]);
  }), "primary");
  const removeVideo = button("Remove video", () => attempt(async () => {
    const gone = clip.id;
    clip = null;
    take(await ask("DELETE", `projects/${id}/clips/${gone}`));
  }), "quiet");
  const editor = make("div", { class: "marking", hidden: true },
    make("div", { class: "columns" }, make("div", {}, video, marks),
      make("div", { class: "mark-form" }, make("div", { class: "row" }, from.element, to.element),
        make("label", {}, "Movement", label), make("div", { class: "row" }, addMark, removeVideo),
        make("p", { class: "muted small", text: "Play the video. Press I where the movement begins and O where it ends, or type the seconds." }), list)));
  const pick = make("label", {}, "Video", which);
  const element = make("div", {},
    make("div", { class: "row" }, pick, filePicker("Add a video to mark", add, { many: false })), message.element, editor);

  which.addEventListener("change", () => open(which.value));
  editor.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = { i: from, o: to }[event.key.toLowerCase()];
    if (field) field.set(video.currentTime);
  });
  video.addEventListener("error", playInstead);

  async function attempt(action) {
    message.say("");
    try {
      await action();
    } catch (error) {
      message.fail(error);
    }
  }

  async function add(files) {
    await attempt(async () => {
      message.say("Sending …");
      const found = await upload(`projects/${id}/clips`, files[0], (share) => message.say(share < 1 ? `Sending … ${Math.round(100 * share)} %` : "Looking at it …"));
      message.say("");
      take(found.project);
      open(found.clip);
    });
  }

  const save = async (intervals) => take(await ask("PUT", `projects/${id}/clips/${clip.id}`, { label: null, intervals }));

  function open(wanted) {
    clip = project.clips.find((each) => each.id === wanted) ?? null;
    editor.hidden = clip === null;
    if (clip === null) return;
    which.value = clip.id;
    video.src = addressOf(`projects/${id}/clips/${clip.id}/file`);
    from.set(0);
    to.set(Math.min(2, clip.seconds));
    showMarks();
  }

  /** The browser cannot play this format: let the server write it again. */
  async function playInstead() {
    if (clip === null || video.dataset.preview === clip.id) return;
    video.dataset.preview = clip.id;
    await attempt(async () => {
      message.say("This browser cannot play the format; the server writes a copy that it can …");
      const job = await ended(await start({ kind: "preview", project: id, clip: clip.id }));
      if (job.state !== "done") throw new Error(job.error ?? "cancelled");
      message.say("");
      video.src = addressOf(`jobs/${job.id}/files/${job.result.preview}`);
    });
  }

  function showMarks() {
    const share = (time) => `${(100 * time) / clip.seconds}%`;
    marks.replaceChildren(...clip.intervals.map((part) => make("button", {
      type: "button", class: "segment", text: part.label, "aria-label": `${part.label}, ${seconds(part.start)} to ${seconds(part.end)}: play`,
      style: { left: share(part.start), width: share(part.end - part.start), "--hue": hueOf(project.classes.indexOf(part.label)) },
      on: { click: () => { video.currentTime = part.start; } },
    })));
    list.replaceChildren(...clip.intervals.map((part, number) => make("li", { class: "row spread" },
      make("span", { class: "row" }, make("span", { class: "swatch", style: { "--hue": hueOf(project.classes.indexOf(part.label)) } }),
        `${part.label} · ${part.start.toFixed(2)} to ${part.end.toFixed(2)} s`),
      button("Remove", () => attempt(() => save(clip.intervals.filter((_, other) => other !== number))), "quiet"))));
  }

  function show(changed) {
    project = changed;
    const videos = changed.clips.filter((each) => each.label === null);
    pick.hidden = videos.length === 0;
    setOptions(which, videos.map((each) => [each.id, `${each.name} · ${duration(each.seconds)}`]), clip?.id ?? null);
    setOptions(label, changed.classes.map((name) => [name, name]));
    const before = clip?.id;
    clip = videos.find((each) => each.id === before) ?? null;
    if (clip !== null) showMarks();
    else if (videos.length) open(videos[0].id);
    else editor.hidden = true;
  }
  return { element, show };
}

function timeField(name, key, videoOf) {
  const input = make("input", { type: "number", min: 0, step: 0.04, "aria-label": `${name}, seconds`, class: "time" });
  const here = button(`${name} here`, () => set(videoOf().currentTime));
  here.title = `Key ${key.toUpperCase()}`;
  function set(time) {
    input.value = time.toFixed(2);
  }
  return { element: make("div", { class: "time-field" }, here, make("span", { class: "row" }, input, "s")), set, value: () => Number(input.value) };
}
