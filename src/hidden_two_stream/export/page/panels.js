// The tabs of the page and their panels. Other modules add panels of their own.

const shown = new EventTarget();

/**
 * Add a tab and its panel, and return the panel.
 *
 * @param {string} id - a name for links, such as "teach".
 * @param {string} title - text of the tab.
 * @param {{first?: boolean}} [place] - whether the tab goes before the others.
 * @returns {HTMLElement} the panel, empty.
 */
export function addPanel(id, title, place = {}) {
  const tabs = document.getElementById("tabs");
  const tab = document.createElement("button");
  Object.assign(tab, { type: "button", id: `tab-${id}`, textContent: title });
  tab.setAttribute("role", "tab");
  tab.setAttribute("aria-controls", `panel-${id}`);
  const panel = document.createElement("section");
  panel.id = `panel-${id}`;
  panel.hidden = true;
  panel.setAttribute("role", "tabpanel");
  panel.setAttribute("aria-labelledby", tab.id);
  tab.addEventListener("click", () => showPanel(id));
  tab.addEventListener("keydown", moveByArrow);
  if (place.first) tabs.prepend(tab);
  else tabs.append(tab);
  document.getElementById("panels").append(panel);
  const wanted = location.hash.slice(1);
  const isFirst = tabs.children.length === 1;
  if (wanted === id || (wanted === "" && place.first) || isFirst) showPanel(id);
  else tab.tabIndex = -1;
  tab.setAttribute("aria-selected", String(!panel.hidden));
  return panel;
}

/** Show the panel of a tab and hide the others. */
export function showPanel(id) {
  for (const tab of document.querySelectorAll('#tabs [role="tab"]')) {
    const isChosen = tab.id === `tab-${id}`;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
  }
  shown.dispatchEvent(new CustomEvent("shown", { detail: id }));
}

/** Call a function with the id of each panel that is shown from now on. */
export function onPanelShown(listener) {
  shown.addEventListener("shown", (event) => listener(event.detail));
}

function moveByArrow(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...document.querySelectorAll('#tabs [role="tab"]')];
  const next = tabs[(tabs.indexOf(event.currentTarget) + step + tabs.length) % tabs.length];
  next.click();
  next.focus();
}
