// All pictures, newest first, with search over their prompts.
import { isAbort, listJobs, pictureAddress, wordsOf } from "./api.js";
import { byId, el } from "./dom.js";
import { number, t } from "./i18n.js";
import { keepJobs } from "./jobs.js";
import { clearPicks, compareAddress, isPicked, onPicks, picked, pickOf, togglePick } from "./picks.js";

const kPage = 30;
let state = { search: null, next: null, pictures: 0, abort: new AbortController() };

// A picture with the way to its settings, and a box to compare it.
export function tile(job, picture, { pick = true } = {}) {
  const prompt = job.request.prompt, id = `pick-${job.id}-${picture.index}`;
  const box = el("input", { type: "checkbox", id, "aria-label": t("compare_pick", { prompt: prompt.slice(0, 80) }),
    data: { pick: pickOf(job, picture) }, on: { change: () => togglePick(pickOf(job, picture)) } });
  box.checked = isPicked(pickOf(job, picture));
  return el("li", {},
    el("a", { href: `#/picture/${job.id}/${picture.index}` },
      el("img", { src: pictureAddress(picture), alt: prompt.slice(0, 200), loading: "lazy", decoding: "async",
        width: picture.width, height: picture.height }),
      el("span", { class: "caption", "aria-hidden": "true" }, prompt)),
    pick && el("label", { class: "pick", for: id }, box, el("span", { "aria-hidden": "true" }, t("compare"))));
}

function count() {
  const n = number(state.pictures);
  if (state.pictures === 1 && !state.next) return t("found_one");
  if (state.pictures > 0) return t(state.next ? "found_more" : "found", { n });
  return state.search ? t("found_no_match", { search: state.search }) : t("found_none");
}

// Reads the next page, and further ones as long as they hold no picture (cancelled jobs).
async function readMore() {
  const mine = state;
  const list = byId("gallery-list");
  const first = list.childElementCount;
  try {
    let found = 0;
    do {
      const page = await listJobs({ limit: kPage, search: mine.search, before: mine.next }, mine.abort.signal);
      keepJobs(page.data);
      const tiles = page.data.flatMap((job) => job.pictures.map((picture) => tile(job, picture)));
      if (mine.fresh) list.replaceChildren();
      mine.fresh = false;
      list.append(...tiles);
      found += tiles.length;
      mine.next = page.next;
    } while (found === 0 && mine.next);
    mine.pictures += found;
    byId("gallery-count").textContent = count();
  } catch (error) {
    if (isAbort(error)) return null;
    byId("gallery-count").textContent = wordsOf(error);
  }
  byId("more").hidden = !mine.next;
  return list.children[first];
}

// Shows the gallery, newly read.
export function showGallery(search = "") {
  state.abort.abort();
  state = { search, next: null, pictures: 0, abort: new AbortController(), fresh: true };
  if (byId("search").value.trim() !== search) byId("search").value = search;
  showTray();
  return readMore();
}

function showTray() {
  const chosen = picked();
  byId("tray").hidden = chosen.length === 0;
  byId("tray-text").textContent = t(chosen.length === 2 ? "compare_ready" : "compare_one");
  byId("tray-compare").hidden = chosen.length < 2;
  byId("tray-compare").href = compareAddress();
  for (const box of document.querySelectorAll("input[data-pick]")) box.checked = isPicked(box.dataset.pick);
}

export function startGallery() {
  let typing = 0;
  const search = () => {
    clearTimeout(typing);
    const text = byId("search").value.trim();
    history.replaceState(null, "", text ? `#/gallery?search=${encodeURIComponent(text)}` : "#/gallery");
    if (text !== state.search) showGallery(text);
  };
  byId("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 250);
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("more").addEventListener("click", async () => (await readMore())?.querySelector("a").focus());
  byId("tray-clear").addEventListener("click", () => {
    clearPicks();
    byId("search").focus();
  });
  onPicks(showTray);
}

// The newest few, beside the form.
export async function showLatest(most = 8) {
  try {
    const page = await listJobs({ limit: 20, state: "done" });
    keepJobs(page.data);
    const pictures = page.data.flatMap((job) => job.pictures.map((picture) => [job, picture])).slice(0, most);
    byId("latest").hidden = pictures.length === 0;
    byId("latest-list").replaceChildren(...pictures.map(([job, picture]) => tile(job, picture, { pick: false })));
  } catch {
    byId("latest").hidden = true;  // the form says what is wrong when it is used
  }
}
