// Starts the page, and shows the view that the address names: #/, #/gallery, #/picture/JOB/INDEX, #/compare/….
import { listJobs, readModel, wordsOf } from "./api.js";
import { showCompare, stopComparing } from "./compare.js";
import { byId, showError } from "./dom.js";
import { setModel, startForm } from "./form.js";
import { showGallery, showLatest, startGallery } from "./gallery.js";
import { nameOf, onLanguage, otherLanguage, setLanguage, t, tagOf, translatePage } from "./i18n.js";
import { dropJobs } from "./jobs.js";
import { startKeys } from "./key_dialog.js";
import { forgetJobs, showJob, startLive } from "./live.js";
import { learn } from "./pace.js";
import { showPicture } from "./picture.js";
import { startTheme } from "./theme.js";

const kViews = ["draw", "gallery", "picture", "compare"];
let model = null, away = false, view = "", turn = 0;

async function fill(name, parts, query) {
  if (name === "gallery") {
    showGallery(query.get("search") ?? "");
    return t("nav_gallery");
  }
  if (name === "picture") return showPicture(parts[0] ?? "", parts[1] ?? "0", model?.id ?? "glm-image");
  if (name === "compare") return showCompare(parts);
  if (model) showLatest();
  return t("nav_draw");
}

// `move`: the reader came here from another view, and the focus goes along.
async function route(move = true) {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const mine = ++turn;
  const [path, query] = location.hash.slice(2).split("?");
  const [first, ...parts] = path.split("/").map(decodeURIComponent);
  view = kViews.includes(first) ? first : "draw";
  stopComparing();
  for (const each of kViews) byId(`view-${each}`).hidden = each !== view;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = await fill(view, parts, new URLSearchParams(query));
  if (mine !== turn) return;  // the reader has gone on
  document.title = `${title.slice(0, 80)} – GLM-Image`;
  if (!move) return;
  scrollTo(0, 0);
  (view === "draw" ? byId("prompt") : byId(`view-${view}`).querySelector("h1"))?.focus({ preventScroll: true });
}

function accepted(job) {
  const card = showJob(job);
  // On a narrow screen the card is below the form.
  if (card.getBoundingClientRect().top > innerHeight - 80) card.scrollIntoView({ block: "center" });
}

// What the server draws with, and what it draws at the moment.
async function connect() {
  try {
    model = await readModel();
    setModel(model);
    startLive(model, () => view === "draw" && showLatest());
    // Somebody may have drawn before, if not from here: that tells how long it takes.
    for (const job of (await listJobs({ state: "done", limit: 1 })).data) learn(model.id, job, job.pictures[0]);
    for (const state of ["queued", "running"]) (await listJobs({ state, limit: 10 })).data.reverse().forEach(showJob);
    if (away) showError(byId("form-error"), "");
    away = false;
    if (view === "draw") showLatest();
  } catch (error) {
    away = true;
    showError(byId("form-error"), wordsOf(error));
    if (error.status === 0 || error.status >= 500) setTimeout(connect, 5000);
  }
}

function startLanguage() {
  const button = byId("language-button");
  const show = () => {
    button.textContent = nameOf(otherLanguage());
    button.lang = tagOf(otherLanguage());
  };
  button.addEventListener("click", () => setLanguage(otherLanguage()));
  onLanguage(() => {
    show();
    route(false);
  });
  show();
}

// Another key sees other jobs.
function keyChanged() {
  dropJobs();
  forgetJobs();
  connect();
  route(false);
}

function startKeyboard() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (view === "picture" || view === "compare") location.hash = "#/gallery";
    else if (view === "gallery" && event.target.id !== "search") location.hash = "#/";
  });
}

translatePage();
startTheme();
startLanguage();
startKeys(keyChanged);
startForm(accepted);
startGallery();
startKeyboard();
addEventListener("hashchange", () => route());
connect();
route(false);
