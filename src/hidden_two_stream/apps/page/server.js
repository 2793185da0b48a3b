// Adds the panels of the local application to the page.

import { ask, events, refresh, state } from "./api.js";
import { make } from "./elements.js";
import { addComparePanel } from "./compare.js";
import { addTeachPanel } from "./teach.js";
import { addVideosPanel } from "./videos.js";

const loading = document.getElementById("loading");
const runtime = document.getElementById("runtime");
const hasRecognizer = document.querySelector('script[src="app.js"]') !== null;

async function begin() {
  addVideosPanel();
  addComparePanel();
  addTeachPanel();
  try {
    await refresh();
  } catch (error) {
    document.getElementById("panels").prepend(make("p", { class: "card bad", role: "alert", text: error.message }));
    return;
  }
  if (!hasRecognizer) {
    loading.hidden = true;
    await prepareRecognizer();
  }
  for (const text of state.problems) {
    document.getElementById("panels").prepend(make("p", { class: "card note", role: "alert", text }));
  }
}

/** Start the panels that recognize inside the browser once the server has exported the network. */
async function prepareRecognizer() {
  const { ready, preparing, problem } = state.page;
  if (ready) {
    runtime.textContent = "";
    loading.hidden = false;
    await import(new URL("../app.js", import.meta.url).href);
  } else if (preparing) {
    runtime.textContent = "Recognition inside the browser is being prepared; its tabs appear in about a minute.";
    setTimeout(() => ask("GET", "state").then((found) => { state.page = found.page; }).then(prepareRecognizer, () => {}), 1500);
  } else if (problem) {
    runtime.textContent = `Recognition inside the browser is off: ${problem}`;
  }
}

document.querySelector("header .muted")?.replaceChildren("Your videos stay on this computer.");
events.addEventListener("runs", () => document.body.classList.toggle("no-runs", state.runs.length === 0));
begin();
