// Trains a project with the package's own training, and shows how far it is.

import { ended, events, isActive, jobs, start, state } from "./api.js";
import { button, duration, make, messageLine, percent } from "./elements.js";
import { jobStatus } from "./progress.js";
import { showPanel } from "../panels.js";

const fewTested = 10;

/** @param {string} id - of the project. */
export function trainCard(id) {
  const recipes = make("fieldset", { class: "recipes" }, make("legend", { text: "Recipe" }),
    ...Object.entries(state.recipes).map(([name, text], number) => make("label", { class: "recipe" },
      make("input", { type: "radio", name: `recipe-${id}`, value: name, checked: number === 0 }),
      make("span", {}, make("strong", { text: name }), make("span", { class: "muted small", text: ` ${text}` })))));
  const changes = make("textarea", { rows: 3, spellcheck: "false", "aria-label": "Changes of the recipe, one per line", placeholder: "temporal.steps=100" });
  const message = messageLine();
  const reason = make("p", { class: "muted small" });
  const status = jobStatus();
  status.element.hidden = true;
  const notes = make("ul", { class: "notes small muted", "aria-label": "Messages of the training" });
  const place = make("div");
  let current = null;
  const go = button("Train", () => begin({}), "primary");

  async function begin(more) {
    message.say("");
    place.replaceChildren();
    try {
      const lines = changes.value.split("\n").map((line) => line.trim()).filter(Boolean);
      const recipe = recipes.querySelector("input:checked").value;
      follow(await start({ kind: "train", project: id, recipe, changes: lines, ...more }));
    } catch (error) {
      message.fail(error);
    }
  }

  async function follow(job) {
    current = job;
    update(jobs.get(job));
    const found = await ended(job).catch(() => null);
    if (found === null || current !== job) return;
    update(found);
    if (found.state === "done") place.replaceChildren(trained(found));
    else if (found.state === "cancelled") place.replaceChildren(stopped(found));
  }

  function update(job) {
    status.show(job);
    notes.replaceChildren(...job.notes.map((text) => make("li", { text })));
    go.disabled = isActive(job) || reason.textContent !== "";
  }

  const stopped = (job) => make("p", {}, "What was learned so far is kept. ",
    button("Continue training", () => begin({ continue: job.about.run, recipe: job.about.recipe })));

  events.addEventListener("job", (event) => {
    if (event.detail.id === current) update(event.detail);
  });

  function show(project) {
    const counts = Object.entries(project.counts).filter(([, number]) => number > 0);
    const few = counts.find(([, number]) => number < 2);
    reason.textContent = counts.length < 2 ? "Add clips of at least two movements first."
      : few ? `“${few[0]}” has one clip; add at least one more.` : "";
    reason.hidden = reason.textContent === "";
    go.disabled = reason.textContent !== "" || isActive(jobs.get(current));
    const latest = [...jobs.values()].reverse().find((job) => job.kind === "train" && job.about.project === id);
    if (current === null && latest) follow(latest.id);
  }

  const element = make("div", {}, recipes,
    make("details", {}, make("summary", { class: "small", text: "Change the recipe" }),
      make("p", { class: "muted small", text: "One field per line, as with hts train --set." }), changes),
    make("div", { class: "row" }, go, reason), message.element, status.element, notes, place);
  return { element, show };
}

function trained(job) {
  const result = job.result;
  const accuracy = result.accuracy?.fused ?? Object.values(result.accuracy ?? {})[0] ?? null;
  const few = result.num_test_videos < fewTested ? " That is too few to tell how good it is: add clips." : "";
  const tested = accuracy === null ? "It was not tested."
    : `${Math.round(accuracy * result.num_test_videos)} of ${result.num_test_videos} held-out clips are right; ${percent(result.chance)} would be by chance.${few}`;
  return make("div", { class: "trained" },
    make("p", { class: "answer", text: `“${result.name}” is ready`, role: "status" }),
    make("p", { text: `${tested} It took ${duration(job.seconds)}.` }),
    make("div", { class: "row" }, button("Try it on a video", () => choose(result.run_id), "primary"), livePage(result.run_id)),
    make("p", { class: "muted small" }, "In the terminal: ", make("code", { text: `hts predict ${quoted(result.run)} VIDEO` })));
}

function choose(run) {
  showPanel("videos");
  const select = document.querySelector('#panel-videos select[aria-label="Recognizer"]');
  select.value = run;
  select.focus();
}

/** Opens the camera page of a run, which is made first. */
function livePage(run) {
  const message = make("span", { class: "small muted", role: "status" });
  const open = button("Open its camera page", async () => {
    open.disabled = true;
    message.textContent = "Making the page …";
    try {
      const job = await ended(await start({ kind: "page", run }));
      if (job.state !== "done") throw new Error(job.error ?? "cancelled");
      message.replaceChildren(make("a", { href: `/runs/${run}/`, target: "_blank", text: "Open the page" }));
      open.hidden = true;
    } catch (error) {
      message.textContent = error.message;
      open.disabled = false;
    }
  });
  return make("span", { class: "row" }, open, message);
}

const quoted = (path) => (/^[\w./~-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
