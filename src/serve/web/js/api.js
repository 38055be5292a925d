// The server's API (openapi.json), as far as the page needs it.
import { t } from "./i18n.js";
import { recall } from "./storage.js";

// The page may live under a folder of a proxy: addresses are relative to it.
const address = (path) => new URL(path, document.baseURI);

// What went wrong, to be said to a person. `status` is 0 where the server was not reached.
export class ApiError extends Error {
  constructor(status, why = "", wait = 0) {
    super(why);
    Object.assign(this, { status, wait });
  }

  // Said when it is shown: the language may have changed since.
  get words() {
    const known = [401, 403, 404, 413, 429, 503];
    const kind = this.status === 0 ? "network" : known.includes(this.status) ? this.status :
      this.status >= 500 ? 500 : "other";
    return t(`error_${kind}`, { why: this.message.replace(/\.$/, ""), n: this.wait || 5 });
  }
}

export const isAbort = (error) => error.name === "AbortError";
export const wordsOf = (error) => error.words ?? String(error.message ?? error);

// Asked when the server wants a key. Set by key_dialog.js; resolves to true when there is another key to try.
let keyGiver = async () => false;
export const setKeyGiver = (giver) => (keyGiver = giver);

// Seeds may be larger than a JavaScript number holds exactly: those stay text.
function exactly(key, value, context) {
  const large = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return large && context?.source ? context.source : value;
}

async function errorOf(response) {
  const wait = Number(response.headers.get("Retry-After")) || 0;
  try {
    return new ApiError(response.status, (await response.json()).error.message, wait);
  } catch {
    return new ApiError(response.status, `HTTP ${response.status}`, wait);
  }
}

// A request with the key, if there is one. Throws ApiError for every answer that is none of success. `quietly`: a
// missing key is not asked for.
export async function send(path, { method = "GET", body, headers = {}, signal, quietly = false } = {}) {
  for (;;) {
    const key = recall("key");
    let response;
    try {
      response = await fetch(address(path), {
        method, body, signal, cache: "no-cache", credentials: "omit", referrerPolicy: "no-referrer",
        headers: key ? { ...headers, Authorization: `Bearer ${key}` } : headers,
      });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new ApiError(0);
    }
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.status !== 401 || quietly) throw error;
    // Meanwhile somebody may have typed one for another request.
    if (recall("key") === key && !(await keyGiver(Boolean(key)))) throw error;
  }
}

async function json(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? null : JSON.parse(await response.text(), exactly);
}

export const readModel = async (options) => (await json("v1/models", options)).data[0];
export const readJob = (id, signal) => json(`v1/jobs/${encodeURIComponent(id)}`, { signal });
export const cancelJob = (id) => json(`v1/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
export const deleteJob = (id) => json(`v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });

export function listJobs(filter, signal) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
  return json(`v1/jobs?${query}`, { signal });
}

// A picture the job edits, as a File.
export async function readReference(job, index) {
  const response = await send(`v1/jobs/${encodeURIComponent(job)}/references/${index}`);
  const blob = await response.blob();
  return new File([blob], `${index + 1}.${blob.type.split("/")[1]}`, { type: blob.type });
}

function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Asks for pictures. A form holds text, so that large seeds stay exact. Where the connection breaks, the same request
// with the same idempotency key goes out again: it is drawn once.
export async function createJob(fields, files = []) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  for (const file of files) form.append("image[]", file, file.name || "picture");
  const headers = { "Idempotency-Key": randomKey() };
  for (const wait of [1, 3, 0]) {
    try {
      return await json("v1/jobs", { method: "POST", body: form, headers });
    } catch (error) {
      if (error.status !== 0 || wait === 0) throw error;
      await pause(wait);
    }
  }
}

// Where a finished picture is, as seen from this page: the server may know itself by another name.
export function pictureAddress(picture) {
  return address(new URL(picture.url).pathname.split("/").slice(-3).join("/")).href;
}
