// A job's server-sent events. EventSource cannot send a key, so the stream is read here.
import { isAbort, send } from "./api.js";

const kSilence = 60_000;  // ms; the server writes at least a comment more often than that
const kWaits = [0.5, 1, 2, 5, 10];

// Lines of an event stream to {id, name, data}.
async function* parse(stream, heard) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: null, name: "message", data: "" };
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        const field = line.slice(0, colon), text = line.slice(colon + 1).replace(/^ /, "");
        if (field === "id") event.id = text;
        if (field === "event") event.name = text;
        if (field === "data") event.data += text;
      }
      if (event.data) yield event;
    }
  }
}

function rest(seconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    addEventListener("online", done);
    signal.addEventListener("abort", done, { once: true });
  });
}

// One connection. Returns true when the job's last event came.
async function listen(job, state, signal, handler) {
  const quiet = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => quiet.abort(), kSilence);
  };
  try {
    heard();
    const response = await send(`v1/jobs/${encodeURIComponent(job)}/events`, {
      headers: state.last ? { "Last-Event-ID": state.last } : {},
      signal: AbortSignal.any([signal, quiet.signal]),
    });
    if (response.status === 204) return true;
    state.tries = 0;
    handler("connected", {});
    for await (const event of parse(response.body, heard)) {
      if (event.id) state.last = event.id;
      handler(event.name, JSON.parse(event.data));
      if (event.id === "end") return true;
    }
    return false;
  } finally {
    clearTimeout(timer);
  }
}

// Calls handler(name, data) for each event until the job ends; "connected" and "lost" tell of the connection, "gone"
// that there is no such job or that it may not be seen. Comes back by itself, and goes on behind the last event it saw.
export async function follow(job, signal, handler) {
  const state = { last: "", tries: 0 };
  while (!signal.aborted) {
    try {
      if (await listen(job, state, signal, handler)) return;
    } catch (error) {
      if (signal.aborted) return;
      if ([401, 403, 404].includes(error.status)) return handler("gone", { error });
      if (!isAbort(error) && error.status === undefined && !(error instanceof TypeError)) throw error;
    }
    handler("lost", {});
    await rest(kWaits[Math.min(state.tries++, kWaits.length - 1)], signal);
  }
}
