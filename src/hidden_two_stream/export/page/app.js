// Starts the page.

import { AboutPanel } from "./about.js";
import { isSingleFile } from "./assets.js";
import { Network } from "./network.js";
import { RecognizePanel } from "./recognize.js";
import { Recognizer } from "./recognizer.js";
import { TeachPanel } from "./teach.js";
import { Camera } from "./video.js";

const OWN = "the classes of this recognizer";

async function startPage() {
  const loading = document.getElementById("loading");
  try {
    const network = await Network.load((share) => (loading.textContent = `Loading the recognizer … ${Math.round(100 * share)} %`));
    loading.hidden = true;
    const title = network.description.export.title;
    if (title) {
      document.getElementById("title").textContent = title;
      document.title = title;
    }
    const camera = new Camera();
    const recognize = new RecognizePanel(network, camera);
    recognize.offer(OWN, new Recognizer(network), true);
    const teach = new TeachPanel(network, camera, recognize);
    const about = new AboutPanel(network);
    // For the browser's console and for other scripts.
    Object.assign(window, { hiddenTwoStream: { network, camera, recognize, teach, about } });
    document.documentElement.dataset.ready = "true";
    await keepOffline();
    about.refresh();
  } catch (error) {
    loading.textContent = `The recognizer does not load: ${error.message}`;
    loading.classList.add("bad");
    document.documentElement.dataset.ready = "failed";
  }
}

/** Keep the files for use without a network. A server that does more than serve files is not kept. */
async function keepOffline() {
  const isServed = document.querySelector('script[src^="server/"]') !== null;
  if (isSingleFile() || isServed || !("serviceWorker" in navigator) || !location.protocol.startsWith("http")) return;
  await navigator.serviceWorker.register("offline.js").then(() => navigator.serviceWorker.ready).catch(() => null);
}

startPage();
