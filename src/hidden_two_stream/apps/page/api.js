// What the panels ask the server, and the jobs that it works on.

const base = new URL("../api/", import.meta.url);
const fast = 400; // ms between two looks while a job runs
const slow = 4000;

/** What the server said at the start or at the last `refresh`; see `AppState.to_dict`. */
export const state = { runs: [], projects: [], videos: [], protocols: {}, recipes: {}, limits: {}, problems: [] };

/** Fires "runs", "videos", "projects" when these lists change, and "job" with each job that changes. */
export const events = new EventTarget();

/** Jobs by id, without results; see `Job.to_dict`. */
export const jobs = new Map();

export const addressOf = (path) => new URL(path, base).href;

/** Send a request and return the JSON of its answer; throws an Error with the server's message. */
export async function ask(method, path, data) {
  const options = { method };
  if (data !== undefined) {
    options.body = JSON.stringify(data);
    options.headers = { "Content-Type": "application/json" };
  }
  let answer;
  try {
    answer = await fetch(addressOf(path), options);
  } catch {
    throw new Error("The application does not answer. Is it still running in the terminal?");
  }
  const found = await answer.json().catch(() => ({ error: `The application answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(found.error);
  return found;
}

/**
 * Send a file. Its size is checked here first, since a server that refuses early cannot always be heard.
 *
 * @param {string} path - such as "videos" or "projects/ID/clips?label=wave".
 * @param {File} file
 * @param {(share: number) => void} onProgress - gets 0 to 1.
 */
export function upload(path, file, onProgress = () => {}) {
  if (file.size > state.limits.bytes) {
    const most = `${(state.limits.bytes / 1e6).toLocaleString()} MB`;
    const text = `“${file.name}” is larger than ${most}; cut it, or start the application with a larger --max-upload`;
    return Promise.reject(new Error(text));
  }
  const address = new URL(path, base);
  address.searchParams.set("name", file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address.href);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      const found = request.response ?? { error: `The application answered ${request.status}.` };
      if (request.status < 300) resolve(found);
      else reject(new Error(found.error));
    });
    request.addEventListener("error", () => {
      reject(new Error(`“${file.name}” did not arrive: the connection ended. Is the application still running?`));
    });
    request.send(file);
  });
}

/** Read the state of the server again. */
export async function refresh() {
  const found = await ask("GET", "state");
  Object.assign(state, found);
  takeJobs(found.jobs);
  for (const name of ["runs", "projects", "videos"]) events.dispatchEvent(new Event(name));
}

/** Queue a job and return its id. */
export async function start(request) {
  const job = await ask("POST", "jobs", request);
  takeJobs([job]);
  schedule(fast);
  return job.id;
}

/** Cancel a job, or forget one that has ended. */
export async function cancel(id) {
  const wasActive = isActive(jobs.get(id));
  takeJobs([await ask("DELETE", `jobs/${id}`)]);
  if (!wasActive) jobs.delete(id);
  schedule(fast);
}

/** Return a job with its result. */
export const resultOf = (id) => ask("GET", `jobs/${id}`);

export const isActive = (job) => job !== undefined && (job.state === "queued" || job.state === "running");

/** Resolve with the job, result and all, once it has ended. */
export function ended(id) {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (isActive(jobs.get(id))) return;
      events.removeEventListener("job", look);
      resultOf(id).then(resolve, reject);
    };
    events.addEventListener("job", look);
    look();
  });
}

let timer = 0;

function schedule(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(poll, milliseconds);
}

async function poll() {
  try {
    takeJobs((await ask("GET", "jobs")).jobs);
  } catch {
    // The next look says whether the server is back; requests of the user say that it is not there.
  }
  schedule([...jobs.values()].some(isActive) ? fast : slow);
}

function takeJobs(found) {
  let trained = false;
  for (const job of found) {
    const before = jobs.get(job.id);
    const text = JSON.stringify({ ...job, result: null });
    if (before?.text === text) continue;
    jobs.set(job.id, { ...job, text });
    trained ||= job.kind === "train" && job.state === "done" && isActive(before);
    events.dispatchEvent(new CustomEvent("job", { detail: job }));
  }
  if (trained) refresh().catch(() => {});
}

schedule(slow);
