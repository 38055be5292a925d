// Two pictures beside, over or after each other, and the settings in which they differ.
import { pictureAddress, wordsOf } from "./api.js";
import { announce, button, byId, el } from "./dom.js";
import { t } from "./i18n.js";
import { findJob } from "./jobs.js";
import { nothingHere, settingsOf } from "./picture.js";

const kFlicker = 900;  // ms a picture: well below three flashes a second
const kModes = ["slider", "side", "flicker"];
let mode = "slider", timer = 0;

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function stopComparing() {
  clearInterval(timer);
}

function image({ job, picture }, name) {
  return el("figure", {}, el("img", { src: pictureAddress(picture), alt: `${t(name)}: ${job.request.prompt.slice(0, 160)}`,
    width: picture.width, height: picture.height }), el("figcaption", {}, t(name)));
}

// The first picture lies over the second, cut off where the slider is.
function slider(box) {
  const input = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": t("compare_position"),
    on: { input: () => box.style.setProperty("--cut", `${input.value}%`) } });
  box.style.setProperty("--cut", "50%");
  return input;
}

// One at a time. Without motion it waits for the button.
function flicker(box) {
  const swap = () => {
    box.dataset.shown = box.dataset.shown === "1" ? "2" : "1";
  };
  box.dataset.shown = "1";
  if (!calm()) timer = setInterval(swap, kFlicker);
  return button(t("compare_swap"), () => {
    stopComparing();
    swap();
    announce(t("compare_showing", { n: box.dataset.shown }));
  });
}

function stage(pair) {
  stopComparing();
  const box = el("div", { class: "compare", data: { mode } }, image(pair[0], "first"), image(pair[1], "second"));
  const { width, height } = pair[0].picture;
  const control = mode === "slider" ? slider(box) : mode === "flicker" ? flicker(box) : null;
  const place = el("div", {}, box, el("div", { class: "compare-control" }, control));
  place.style.setProperty("--ratio", width / height);
  return place;
}

function modes(pair, place) {
  const choices = kModes.flatMap((each) => {
    const input = el("input", { type: "radio", name: "mode", id: `mode-${each}`, value: each, on: { change: () => {
      mode = each;
      place.replaceChildren(stage(pair));
    } } });
    input.checked = each === mode;
    return [input, el("label", { for: `mode-${each}` }, t(`compare_${each}`))];
  });
  return el("fieldset", {}, el("legend", { class: "sr" }, t("compare_how")), el("span", { class: "segments" }, choices));
}

function differences(pair) {
  const [first, second] = pair.map(({ job, picture }) => new Map(settingsOf(job, picture)));
  const names = [...new Set([...first.keys(), ...second.keys()])]
    .filter((name) => !["job", "when", "took", "file"].includes(name) && first.get(name) !== second.get(name));
  if (names.length === 0) return el("p", { class: "hint" }, t("compare_same"));
  const cell = (text) => el("td", {}, text ?? "–");
  const head = ["setting", "first", "second"].map((name) => el("th", { scope: "col" }, t(name)));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("setting") },
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, names.map((name) =>
      el("tr", {}, el("th", { scope: "row" }, t(name)), cell(first.get(name)), cell(second.get(name)))))));
}

// `picks`: ["JOB", "INDEX", "JOB", "INDEX"].
export async function showCompare(picks) {
  const view = byId("view-compare");
  try {
    const pair = [];
    for (const [id, index] of [picks.slice(0, 2), picks.slice(2, 4)]) {
      const job = await findJob(id ?? "");
      const picture = job.pictures.find((each) => each.index === Number(index));
      if (!picture) throw Object.assign(new Error(), { words: t("nothing_here") });
      pair.push({ job, picture });
    }
    const place = el("div", {}, stage(pair));
    view.replaceChildren(el("p", { class: "back" }, el("a", { href: "#/gallery" }, `← ${t("nav_gallery")}`)),
      el("div", { class: "gallery-head" }, el("h1", { id: "compare-title", tabindex: "-1" }, t("compare")),
        modes(pair, place)), place, differences(pair));
  } catch (error) {
    stopComparing();
    view.replaceChildren(...nothingHere("compare-title", error.status === 404 ? t("nothing_here") : wordsOf(error)));
  }
  return t("compare");
}
