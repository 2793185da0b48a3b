// Keeps the page's files, so that it works without a network, and isolates the page, so that it can use threads.
// files.js names the files; a changed list is a new version.

self.importScripts("files.js");
const PAGE_NAME = `hidden-two-stream ${self.registration.scope}`; // pages of one host don't share their files
const CACHE = `${PAGE_NAME} ${self.PAGE.version}`;
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(self.PAGE.files)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(removeOld().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const isOurs = request.url.startsWith(self.registration.scope) && ["GET", "HEAD"].includes(request.method);
  if (isOurs) event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request.url, { ignoreSearch: true });
  const found = kept ?? (await fetch(request));
  if (!found.body && found.status !== 200) return found;
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(request.method === "HEAD" ? null : found.body, { status: found.status, statusText: found.statusText, headers });
}

async function removeOld() {
  for (const name of await caches.keys()) {
    if (name.startsWith(`${PAGE_NAME} `) && name !== CACHE) await caches.delete(name);
  }
}
