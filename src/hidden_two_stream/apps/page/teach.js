// The panel "Label and train": clips per class, marked parts of longer videos, and training with progress.

import { addPanel } from "../panels.js";
import { addressOf, ask, events, state, upload } from "./api.js";
import { button, choice, duration, filePicker, hueOf, make, messageLine, sentence, setOptions, takesDrops } from "./elements.js";
import { marker } from "./marking.js";
import { cameraRecorder } from "./record.js";
import { trainCard } from "./train.js";

export function addTeachPanel() {
  const panel = addPanel("train", "Label and train");
  const project = choice("Project", []);
  const name = make("input", { type: "text", placeholder: "Name of a new project", "aria-label": "Name of a new project", maxlength: 100 });
  const message = messageLine();
  const body = make("div");
  const add = make("form", { class: "row" }, name, make("button", { class: "button", text: "New project" }));
  const where = make("p", { class: "muted small" });
  const pick = make("label", {}, "Project", project);
  panel.append(
    make("h2", { class: "spoken", text: "Label and train" }),
    make("div", { class: "card" },
      make("div", { class: "row spread" }, pick, add), where, message.element),
    body);

  add.addEventListener("submit", (event) => {
    event.preventDefault();
    change(async () => {
      const made = await ask("POST", "projects", { name: name.value });
      state.projects.push(made);
      name.value = "";
      showProjects(made.id);
    });
  });
  project.addEventListener("change", () => showProject());

  async function change(action) {
    message.say("");
    try {
      await action();
    } catch (error) {
      message.fail(error);
    }
  }

  let shown = null;
  function showProjects(wanted = null) {
    setOptions(project, state.projects.map((each) => [each.id, each.name]), wanted);
    pick.hidden = state.projects.length === 0;
    showProject();
  }
  function showProject() {
    const chosen = state.projects.find((each) => each.id === project.value);
    where.textContent = chosen
      ? `Kept in ${chosen.folder}`
      : "Give the project a name, such as “gestures”. Then add clips of at least two movements, and train.";
    if (!chosen) {
      body.replaceChildren();
      shown = null;
    } else if (shown?.id === chosen.id) shown.show(chosen);
    else {
      shown = projectView(chosen);
      body.replaceChildren(shown.element);
    }
  }
  events.addEventListener("projects", () => showProjects());
}

/** Everything about one project. `show` takes it again after a change. */
function projectView(project) {
  const { id } = project;
  const classes = make("div", { class: "classes" });
  const message = messageLine();
  const name = make("input", { type: "text", placeholder: "Movement, such as “wave”", "aria-label": "Name of a new class", maxlength: 100 });
  const add = make("form", { class: "row" }, name, make("button", { class: "button", text: "Add class" }));
  const marking = marker(id, take);
  const training = trainCard(id);
  const cards = new Map();
  const camera = cameraRecorder(message, () => {
    for (const card of cards.values()) card.showCamera();
  });
  add.addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(async () => {
      take(await ask("POST", `projects/${id}/classes`, { name: name.value }));
      name.value = "";
    });
  });

  async function attempt(action) {
    message.say("");
    try {
      await action();
    } catch (error) {
      message.fail(error);
    }
  }

  function take(changed) {
    state.projects = state.projects.map((each) => (each.id === id ? changed : each));
    show(changed);
  }

  function show(changed) {
    for (const label of changed.classes) {
      if (!cards.has(label)) cards.set(label, classCard(id, label, take, attempt, camera));
    }
    for (const label of [...cards.keys()]) if (!changed.classes.includes(label)) cards.delete(label);
    changed.classes.forEach((label, number) => cards.get(label).show(changed, number));
    classes.replaceChildren(...changed.classes.map((label) => cards.get(label).element));
    marking.show(changed);
    training.show(changed);
  }

  const element = make("div", {},
    make("div", { class: "card" },
      make("h3", { text: "1 · Clips of each movement" }),
      make("p", { class: "muted small", text: "A clip shows one movement, for one to ten seconds. Eight clips of each, of different people and places, are a good start." }),
      camera.element, classes, add, message.element),
    make("div", { class: "card" }, make("h3", { text: "2 · Or mark parts of a longer video" }), marking.element),
    make("div", { class: "card" }, make("h3", { text: "3 · Train" }), training.element));
  show(project);
  return { id, element, show };
}

function classCard(id, label, take, attempt, camera) {
  const count = make("span", { class: "muted small" });
  const clips = make("ul", { class: "clips" });
  const message = messageLine();
  const remove = button("Remove class", () => attempt(async () => {
    take(await ask("DELETE", `projects/${id}/classes/${encodeURIComponent(label)}`));
  }), "quiet");

  async function add(files) {
    const problems = [];
    let done = 0;
    for (const file of files) {
      message.say(`Sending ${++done} of ${files.length} …`);
      try {
        take((await upload(`projects/${id}/clips?label=${encodeURIComponent(label)}`, file)).project);
      } catch (error) {
        problems.push(sentence(error.message));
      }
    }
    if (problems.length) message.say(problems.join("\n"), true);
    else message.say("");
  }

  const record = button("Record", async () => {
    record.disabled = true;
    try {
      await add([await camera.record()]);
    } catch (error) {
      message.fail(error);
    }
    record.disabled = false;
    record.focus();
  });
  record.setAttribute("aria-label", `Record a clip of ${label}`);
  const showCamera = () => { record.hidden = !camera.isOn; };
  showCamera();

  const swatch = make("span", { class: "swatch" });
  const element = make("section", { class: "class-card drop", "aria-label": `Class ${label}` },
    make("div", { class: "row spread" },
      make("div", { class: "row" }, swatch, make("h4", { text: label }), count),
      make("div", { class: "row" }, record, filePicker("Add clips", add, { label: `Add clips of ${label}` }), remove)),
    clips, message.element);
  takesDrops(element, add);

  function show(project, number) {
    const own = project.clips.filter((clip) => clip.label === label);
    const parts = project.clips.flatMap((clip) => clip.intervals).filter((part) => part.label === label).length;
    swatch.style.setProperty("--hue", hueOf(number));
    remove.hidden = own.length + parts > 0;
    count.textContent = [`${own.length} ${own.length === 1 ? "clip" : "clips"}`, parts ? `${parts} marked ${parts === 1 ? "part" : "parts"}` : ""].filter(Boolean).join(", ");
    clips.replaceChildren(...own.map((clip) => make("li", {},
      make("img", { src: addressOf(`projects/${id}/clips/${clip.id}/thumbnail`), alt: "" }),
      make("span", { class: "name", title: clip.name, text: `${clip.name} · ${duration(clip.seconds)}` }),
      make("button", { type: "button", text: "×", "aria-label": `Remove ${clip.name}`, on: { click: () => attempt(async () => take(await ask("DELETE", `projects/${id}/clips/${clip.id}`))) } }))));
  }
  return { element, show, showCamera };
}

