// Runs the exported network beside the page, so that the page stays responsive. A classic script: in a page that
// is one file, ONNX Runtime stands before it in one Blob, because workers of such pages cannot load scripts.

let session = null;

self.onmessage = async ({ data: { id, task, ...message } }) => {
  try {
    const found = task === "load" ? await loadSession(message) : await runSession(message);
    self.postMessage({ id, found }, transferable(found));
  } catch (error) {
    self.postMessage({ id, error: error?.message ?? String(error) });
  }
};

async function loadSession({ model, runtime, provider, threads }) {
  if (typeof ort === "undefined") self.importScripts(runtime.script);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  if (runtime.wasm) ort.env.wasm.wasmBinary = runtime.wasm;
  ort.env.wasm.wasmPaths = { mjs: runtime.glue ? scriptUrl(runtime.glue) : runtime.glueUrl };
  if (session) await session.release();
  session = await ort.InferenceSession.create(model, { executionProviders: [provider] });
  return { outputs: session.outputNames };
}

async function runSession({ frames, shape, outputs }) {
  const begun = performance.now();
  const results = await session.run({ frames: new ort.Tensor("uint8", frames, shape) }, outputs);
  const found = { milliseconds: performance.now() - begun, outputs: {} };
  for (const name of outputs) {
    const tensor = results[name];
    found.outputs[name] = { data: new Float32Array(await tensor.getData()), dims: [...tensor.dims] };
    tensor.dispose();
  }
  return found;
}

function scriptUrl(bytes) {
  return URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
}

function transferable(found) {
  return Object.values(found.outputs ?? {}).flatMap((each) => (each.data ? [each.data.buffer] : []));
}
