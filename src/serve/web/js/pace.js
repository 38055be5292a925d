// How long it takes: from what this job has done so far, and from the pictures before it.
import { recall, remember } from "./storage.js";

const kKept = "pace";

function read() {
  try {
    return JSON.parse(recall(kKept)) ?? {};
  } catch {
    return {};
  }
}

// Learns from a finished picture: seconds a visual token, a step and pixel, and of all the rest.
export function learn(model, job, picture) {
  const seconds = picture.seconds;
  const work = job.request.num_inference_steps * picture.width * picture.height;
  if (!seconds.denoise || !seconds.visual_tokens || !picture.visual_tokens) return;
  const others = Object.entries(seconds).filter(([stage]) => !["denoise", "visual_tokens", "total"].includes(stage));
  const pace = {
    token: seconds.visual_tokens / picture.visual_tokens,
    work: seconds.denoise / work,
    rest: others.reduce((sum, [, each]) => sum + each, 0),
    tokens_per_pixel: picture.visual_tokens / (picture.width * picture.height),
  };
  remember(kKept, JSON.stringify({ ...read(), [model]: pace }));
}

// Times one job. `note` takes its progress events; `left` gives seconds to its end, null as long as nothing is known.
export class Clock {
  constructor(model, job, size) {
    Object.assign(this, { pace: read()[model], request: job.request, pixels: size.width * size.height });
    this.began = null;
  }

  note(progress) {
    const stage = `${progress.index} ${progress.stage}`;
    if (stage !== this.stage) {
      this.stage = stage;
      this.began = { done: progress.done, time: performance.now() };
    }
    this.progress = { ...progress, time: performance.now() };
  }

  // Seconds the present stage still takes: by its own speed once there is one, else by the speed of others.
  stageLeft(expected) {
    const { done, total, time } = this.progress;
    const steps = done - this.began.done, passed = (time - this.began.time) / 1000;
    if (passed > 0 && (steps > 1 || passed > 0.3)) return (passed / steps) * (total - done) - (performance.now() - time) / 1000;
    return total > 0 && expected !== undefined ? expected * (1 - done / total) : undefined;
  }

  left() {
    if (!this.progress || !this.began) return null;
    const pace = this.pace;
    const painting = pace && pace.work * this.request.num_inference_steps * this.pixels;
    const writing = pace && pace.token * pace.tokens_per_pixel * this.pixels;
    const after = { visual_tokens: painting, denoise: 0, decode: 0 };
    const here = { visual_tokens: writing, denoise: painting, decode: pace?.rest };
    const stage = this.progress.stage;
    let seconds;
    if (stage in after) seconds = this.stageLeft(here[stage]) + after[stage];
    else seconds = pace && (stage === "glyphs" ? painting : writing + painting + pace.rest);
    const others = this.request.n - this.progress.index - 1;
    if (others > 0) seconds += pace ? others * (writing + painting + pace.rest) : NaN;
    return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
  }
}
