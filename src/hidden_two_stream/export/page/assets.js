// Files beside the page; in the single-file form, they are compressed inside it.

const unpackedUrls = new Map();

/** Return whether everything is inside this one HTML file. */
export function isSingleFile() {
  return document.querySelector("script[data-asset]") !== null;
}

/** Return whether the page has a file of this name. */
export async function hasAsset(name) {
  if (isSingleFile()) return insideElement(name) !== null;
  const answer = await fetch(name, { method: "HEAD" }).catch(() => null);
  return Boolean(answer?.ok);
}

/**
 * Return the bytes of a file.
 *
 * @param {string} name - relative to the page.
 * @param {(share: number) => void} [onProgress] - called with 0…1, where the host states the length.
 * @throws {Error} the file is not there.
 */
export async function assetBytes(name, onProgress = () => {}) {
  if (isSingleFile()) return unpacked(name);
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} is missing (status ${answer.status}); copy the whole folder to the host`);
  const length = answer.headers.get("content-encoding") ? 0 : Number(answer.headers.get("content-length"));
  const pieces = [];
  let received = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    received += value.length;
    if (length) onProgress(Math.min(received / length, 1));
  }
  const whole = new Uint8Array(received);
  pieces.reduce((at, piece) => (whole.set(piece, at), at + piece.length), 0);
  return whole;
}

/** Return the parsed content of a JSON file. */
export async function assetJson(name) {
  return JSON.parse(new TextDecoder().decode(await assetBytes(name)));
}

/** Return a URL from which scripts and workers can load a file. */
export async function assetUrl(name) {
  if (!isSingleFile()) return new URL(name, document.baseURI).href;
  if (!unpackedUrls.has(name)) unpackedUrls.set(name, unpacked(name).then(scriptBlobUrl));
  return unpackedUrls.get(name); // the same URL each time: a module is loaded once
}

function scriptBlobUrl(bytes) {
  return URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
}

function insideElement(name) {
  return document.querySelector(`script[data-asset="${name}"]`);
}

async function unpacked(name) {
  const element = insideElement(name);
  if (!element) throw new Error(`${name} is not in this file; export the page again`);
  const packed = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
