// One picture with everything about it.
import { deleteJob, pictureAddress, wordsOf } from "./api.js";
import { ask, button, byId, copyText, el, toast } from "./dom.js";
import { drawSame, fillForm } from "./form.js";
import { duration, fileSize, moment, number, t } from "./i18n.js";
import { dropJob, findJob } from "./jobs.js";
import { showJob } from "./live.js";
import { dropPicksOf, isPicked, picked, pickOf, togglePick, compareAddress } from "./picks.js";
import { fileName, toJson, toParameters } from "./recipe.js";

// Settings as [name, text], those that are known.
export function settingsOf(job, picture) {
  const request = job.request;
  const seconds = Object.values(picture.seconds).reduce((sum, each) => sum + each, 0);
  return [
    ["prompt_name", request.prompt],
    ["size", `${picture.width} × ${picture.height}`],
    ["seed", String(picture.seed)],
    ["steps", number(request.num_inference_steps)],
    ["guidance", number(request.guidance_scale)],
    ["temperature", request.temperature === null ? t("automatic") : number(request.temperature)],
    ["top_p", request.top_p === null ? t("automatic") : number(request.top_p)],
    ["references", request.references > 0 ? number(request.references) : null],
    ["tokens", number(picture.visual_tokens)],
    ["file", `${picture.mime.split("/")[1].toUpperCase()}, ${fileSize(picture.bytes)}`],
    ["took", duration(seconds)],
    ["when", moment(job.created)],
    ["job", job.id],
  ].filter(([, text]) => text !== null);
}

async function copy(text) {
  try {
    await copyText(text);
    toast(t("copied"));
  } catch {
    toast(t("not_copied"));
  }
}

// An action whose failure is said in words.
const told = (action) => async () => {
  try {
    await action();
  } catch (error) {
    toast(wordsOf(error));
  }
};

async function change(job, picture) {
  await fillForm(job, picture);
  location.hash = "#/";
  toast(t("settings_filled"));
}

async function again(job, picture) {
  const same = await drawSame(job, picture);
  if (!same) return;
  showJob(same);
  location.hash = "#/";
  toast(t("same_queued"));
}

async function remove(job) {
  if (!(await ask(t("remove_sure", { n: job.pictures.length }), t("remove")))) return;
  await deleteJob(job.id);
  dropJob(job.id);
  dropPicksOf(job);
  location.hash = "#/gallery";
  toast(t("removed"));
}

function pickButton(job, picture) {
  const pick = pickOf(job, picture);
  const out = button("", () => {
    togglePick(pick);
    if (picked().length === 2 && isPicked(pick)) location.hash = compareAddress();
    show();
  });
  const show = () => {
    out.textContent = t(isPicked(pick) ? "picked" : "pick");
    out.setAttribute("aria-pressed", isPicked(pick));
  };
  show();
  return out;
}

function actions(job, picture, model) {
  return el("div", { class: "actions" },
    button(t("draw_same"), told(() => again(job, picture)), { class: "primary" }),
    button(t("use_settings"), told(() => change(job, picture))),
    el("a", { class: "button", href: pictureAddress(picture), download: fileName(job, picture) }, t("download")),
    pickButton(job, picture),
    button(t("copy_json"), () => copy(toJson(job, picture))),
    button(t("copy_text"), () => copy(toParameters(job, picture, model))),
    button(t("remove"), told(() => remove(job)), { class: "danger" }));
}

function siblings(job, picture) {
  if (job.pictures.length < 2) return null;
  return el("nav", { "aria-label": t("others") }, el("ul", { class: "tiles few" }, job.pictures.map((each) =>
    el("li", {}, el("a", { href: `#/picture/${job.id}/${each.index}`, "aria-current": each === picture && "true" },
      el("img", { src: pictureAddress(each), width: each.width, height: each.height,
        alt: t("picture_of", { n: each.index + 1, total: job.pictures.length }) }))))));
}

function large(job, picture) {
  const out = el("a", { href: pictureAddress(picture), class: "large" },
    el("img", { src: pictureAddress(picture), alt: job.request.prompt.slice(0, 200), width: picture.width,
      height: picture.height }));
  out.style.setProperty("--ratio", picture.width / picture.height);
  return out;
}

export function nothingHere(id, words) {
  return [el("h1", { id, tabindex: "-1" }, t("picture")), el("p", {}, words),
    el("p", {}, el("a", { href: "#/gallery" }, t("nav_gallery")))];
}

// `model`: the served model's name. Returns the title.
export async function showPicture(id, index, model) {
  const view = byId("view-picture");
  try {
    const job = await findJob(id);
    const picture = job.pictures.find((each) => each.index === Number(index));
    if (!picture) throw Object.assign(new Error(), { words: t("nothing_here") });
    const prompt = job.request.prompt;
    const long = prompt.length > 160;  // scrolls, by keyboard too
    view.replaceChildren(
      el("p", { class: "back" }, el("a", { href: "#/gallery" }, `← ${t("nav_gallery")}`)),
      el("div", { class: "picture" },
        el("div", {}, large(job, picture), siblings(job, picture)),
        el("div", {}, el("h1", { id: "picture-title", tabindex: long ? "0" : "-1", class: long && "long" }, prompt),
          actions(job, picture, model),
          el("dl", {}, settingsOf(job, picture).slice(1).map(([name, text]) =>
            el("div", {}, el("dt", {}, t(name)), el("dd", {}, text)))))));
    return prompt;
  } catch (error) {
    view.replaceChildren(...nothingHere("picture-title", error.status === 404 ? t("nothing_here") : wordsOf(error)));
    return t("picture");
  }
}
