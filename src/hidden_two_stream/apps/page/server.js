// Adds the panels of the local application to the page.

import { events, refresh, state } from "./api.js";
import { make } from "./elements.js";
import { addComparePanel } from "./compare.js";
import { addTeachPanel } from "./teach.js";
import { addVideosPanel } from "./videos.js";

const loading = document.getElementById("loading");

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
  if (!document.querySelector('script[src="app.js"]')) {
    loading?.remove();
    const runtime = document.getElementById("runtime");
    if (runtime) runtime.textContent = `hidden-two-stream ${state.version}`;
  }
  for (const text of state.problems) {
    document.getElementById("panels").prepend(make("p", { class: "card note", role: "alert", text }));
  }
}

document.querySelector("header .muted")?.replaceChildren("Videos stay on this computer.");
events.addEventListener("runs", () => document.body.classList.toggle("no-runs", state.runs.length === 0));
begin();
