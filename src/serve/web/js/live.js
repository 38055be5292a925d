// Jobs on their way: where they wait, what is written and painted, how long it takes.
import { cancelJob, pictureAddress, readJob, wordsOf } from "./api.js";
import { announce, button, byId, el, toast } from "./dom.js";
import { follow } from "./events.js";
import { duration, number, onLanguage, t } from "./i18n.js";
import { Clock, learn } from "./pace.js";
import { paintTokens } from "./token_canvas.js";

const kLook = 2000;  // ms between looks at the queue's length
const cards = new Map();
let model = { id: "", drawing: { size: "1024x1024" } };
let ended = () => {};

const isFinal = (state) => ["done", "failed", "cancelled"].includes(state);

function sizeOf(job) {
  const [width, height] = model.drawing.size.split("x").map(Number);
  return { width: job.request.width ?? width, height: job.request.height ?? height };
}

class Card {
  constructor(job) {
    this.job = job;
    this.size = sizeOf(job);
    this.clock = new Clock(model.id, job, this.size);
    this.abort = new AbortController();
    this.pictures = [...job.pictures];
    this.place = job.queue_place ?? null;
    this.progress = job.progress;
    this.build();
    this.refresh();
    this.timer = setInterval(() => this.tick(), 1000);
    follow(job.id, this.abort.signal, (name, data) => this.hear(name, data)).catch((error) => this.stop(wordsOf(error)));
    if (job.state === "queued") this.look();
  }

  build() {
    const { width, height } = this.size;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    paintTokens(this.canvas, this.size, 0);
    this.image = el("img", { width, height, alt: "", hidden: true });
    this.frame = el("div", { class: "frame" }, this.canvas, this.image);
    this.frame.style.setProperty("--ratio", width / height);
    this.stage = el("p", { class: "stage-name" });
    this.bar = el("progress", { max: 1 });
    this.detail = el("p", { class: "hint" });
    this.note = el("p", { class: "error", hidden: true });
    this.actions = el("div", { class: "row" });
    this.drawn = el("ul", { class: "tiles few" });
    this.element = el("article", { class: "card", data: { job: this.job.id }, tabindex: "-1" }, this.frame,
      el("div", { class: "card-text" }, el("h3", {}, this.job.request.prompt), this.stage, this.bar, this.detail,
        this.note, this.drawn, this.actions));
    this.element.setAttribute("aria-label", this.job.request.prompt.slice(0, 120));
  }

  // Events of the job (events.js).
  hear(name, data) {
    if (name === "lost" || name === "connected") {
      this.lost = name === "lost";
    } else if (name === "gone") {
      return this.stop(data.error.status === 404 ? t("gone") : data.error.words);
    } else if (name === "progress") {
      this.progress = data;
      this.clock.note(data);
      if (data.stage === "visual_tokens") paintTokens(this.canvas, this.size, data.done / Math.max(1, data.total));
      if (data.stage !== "denoise" && data.stage !== "decode") this.image.hidden = true;
    } else if (name === "partial") {
      this.showImage(`data:image/png;base64,${data.b64_json}`, t("preview", { prompt: this.job.request.prompt }), true);
    } else if (name === "picture") {
      this.addPicture(data);
    } else if (name === "state") {
      this.job = { ...this.job, ...data.job, state: data.state };
      if (isFinal(data.state)) return this.end();
    } else if (name === "error") {
      this.fault = data.error?.message;
    }
    this.refresh();
  }

  addPicture(picture) {
    if (this.pictures.some((each) => each.index === picture.index)) return;
    this.pictures.push(picture);
    learn(model.id, this.job, picture);
    this.showImage(pictureAddress(picture), t("drawn", { prompt: this.job.request.prompt }), false);
  }

  showImage(source, alt, unfinished) {
    this.image.src = source;
    this.image.alt = alt;
    this.image.hidden = false;
    this.image.classList.toggle("unfinished", unfinished);
  }

  end() {
    this.pictures = this.job.pictures ?? this.pictures;
    this.lost = false;
    if (this.pictures.length > 0) {
      this.showImage(pictureAddress(this.pictures[0]), t("drawn", { prompt: this.job.request.prompt }), false);
    } else {
      this.image.hidden = true;
    }
    this.halt();
    this.refresh();
    announce(this.words());
    ended(this.job);
  }

  stop(words) {
    this.job.state = "failed";
    this.job.error = { message: words };
    this.halt();
    this.refresh();
  }

  halt() {
    clearInterval(this.timer);
    clearTimeout(this.looking);
    this.abort.abort();
  }

  async look() {
    try {
      const job = await readJob(this.job.id, this.abort.signal);
      if (job.queue_place !== this.place) {
        this.place = job.queue_place;
        this.refresh();
      }
    } catch {
      // The event stream tells when the server is away.
    }
    if (this.job.state === "queued") this.looking = setTimeout(() => this.look(), kLook);
  }

  // What is going on, in a few words.
  words() {
    const { state, error, cancel_requested } = this.job;
    if (state === "failed") return t("failed", { why: error?.message ?? this.fault ?? "" });
    if (state === "cancelled") return t("cancelled");
    if (state === "done") {
      const seconds = this.job.finished - this.job.started;
      return seconds > 0 ? t("done_in", { time: duration(seconds) }) : t("done");
    }
    if (cancel_requested) return t("cancelling");
    if (state === "queued") {
      return this.place === 1 ? t("queued_next") : this.place ? t("queued_place", { n: number(this.place) }) : t("queued");
    }
    return t(`stage_${this.progress?.stage ?? "load"}`);
  }

  details() {
    if (this.job.state !== "running" || !this.progress) return "";
    const { done, total, index } = this.progress;
    const parts = [];
    if (total > 1) parts.push(t("of", { done: number(done), total: number(total) }));
    if (this.job.request.n > 1) parts.push(t("picture_of", { n: index + 1, total: this.job.request.n }));
    const left = this.clock.left();
    if (left !== null) parts.push(t("left", { time: duration(Math.max(1, left)) }));
    return parts.join(" · ");
  }

  tick() {
    const text = this.details();
    if (this.detail.textContent !== text) this.detail.textContent = text;
  }

  // Only what changed is written: screen readers and the layout stay calm.
  refresh() {
    const words = this.words(), running = !isFinal(this.job.state);
    if (this.stage.textContent !== words) {
      this.stage.textContent = words;
      this.bar.setAttribute("aria-label", words);
    }
    this.element.dataset.state = this.job.state;
    this.bar.hidden = !running;
    if (this.job.state === "running" && this.progress?.total > 0) this.bar.value = this.progress.done / this.progress.total;
    else this.bar.removeAttribute("value");
    this.tick();
    this.note.hidden = !this.lost;
    this.note.textContent = this.lost ? t("reconnecting") : "";
    this.showPictures();
    this.showActions(running);
  }

  showPictures() {
    const known = `${document.documentElement.lang} ${this.pictures.length}`;
    if (this.shown === known) return;
    this.shown = known;
    this.drawn.hidden = this.job.request.n < 2;
    this.drawn.replaceChildren(...this.pictures.map((picture) => el("li", {},
      el("a", { href: `#/picture/${this.job.id}/${picture.index}` },
        el("img", { src: pictureAddress(picture), width: picture.width, height: picture.height,
          alt: t("picture_of", { n: picture.index + 1, total: this.job.request.n }) })))));
  }

  showActions(running) {
    const kind = `${document.documentElement.lang} ${running} ${this.pictures.length > 0}`;
    if (this.kind === kind) return;
    this.kind = kind;
    const cancel = button(t("cancel"), () => this.cancel(), { class: "small" });
    const away = button(t("dismiss"), () => this.remove(), { class: "small" });
    const open = this.pictures.length > 0 &&
      el("a", { class: "button small", href: `#/picture/${this.job.id}/${this.pictures[0].index}` }, t("picture"));
    this.actions.replaceChildren(...[running ? cancel : open, running ? null : away].filter(Boolean));
  }

  async cancel() {
    this.job.cancel_requested = true;
    this.refresh();
    try {
      await cancelJob(this.job.id);
    } catch (error) {
      this.job.cancel_requested = false;
      this.refresh();
      toast(wordsOf(error));
    }
  }

  remove() {
    this.halt();
    cards.delete(this.job.id);
    this.element.remove();
    showBlank();
    byId("prompt").focus();
  }
}

function showBlank() {
  byId("blank").hidden = cards.size > 0;
}

// Follows a job in a card of its own; the newest is on top.
export function showJob(job) {
  if (cards.has(job.id)) return cards.get(job.id).element;
  // Finished cards make room: their pictures are among the latest.
  for (const card of [...cards.values()]) {
    if (isFinal(card.job.state) && card.job.state !== "failed") {
      cards.delete(card.job.id);
      card.element.remove();
    }
  }
  const card = new Card(job);
  cards.set(job.id, card);
  byId("live").prepend(card.element);
  showBlank();
  return card.element;
}

export function forgetJobs() {
  for (const card of cards.values()) {
    card.halt();
    card.element.remove();
  }
  cards.clear();
  showBlank();
}

// `whenEnded` is called with each job that came to its end.
export function startLive(served, whenEnded) {
  model = served;
  ended = whenEnded;
  onLanguage(() => cards.forEach((card) => card.refresh()));
}
