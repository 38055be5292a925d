// The pictures to edit: dropped, pasted or chosen; put in order; taken away.
import { announce, button, byId, el, toast } from "./dom.js";
import { fileSize, onLanguage, t } from "./i18n.js";

const kTypes = ["image/png", "image/jpeg", "image/webp"];
let limits = { count: 16, bytes: 50e6 };
let pictures = [];  // {file, url}

function refusal(file) {
  const name = file.name || t("picture");
  if (!kTypes.includes(file.type)) return t("reference_type", { name });
  if (file.size > limits.bytes) {
    return t("reference_large", { name, size: fileSize(file.size), most: fileSize(limits.bytes) });
  }
  return pictures.length >= limits.count ? t("reference_many", { n: limits.count }) : "";
}

export function addReferences(files) {
  const before = pictures.length;
  for (const file of files) {
    const why = refusal(file);
    if (why) {
      toast(why);
      continue;
    }
    pictures.push({ file, url: URL.createObjectURL(file) });
  }
  render();
  if (pictures.length > before) announce(t("reference_count", { n: pictures.length }));
}

export const references = () => pictures.map((each) => each.file);

export function setReferences(files) {
  for (const each of pictures) URL.revokeObjectURL(each.url);
  pictures = [];
  addReferences(files);
}

function move(from, to, by) {
  pictures.splice(to, 0, ...pictures.splice(from, 1));
  render();
  // The focus goes along, or to the other arrow where the way ends.
  const item = byId("reference-list").children[to];
  (item.querySelector(`[data-by="${by}"]:not(:disabled)`) ?? item.querySelector("button:not(:disabled)")).focus();
}

function remove(index) {
  URL.revokeObjectURL(pictures.splice(index, 1)[0].url);
  render();
  const next = byId("reference-list").children[Math.min(index, pictures.length - 1)];
  (next?.querySelector("[data-remove]") ?? byId("reference-input")).focus();
  announce(t("reference_count", { n: pictures.length }));
}

function item({ file, url }, index) {
  const n = index + 1;
  const tool = (sign, label, action, properties) =>
    button(sign, action, { class: "tool", "aria-label": t(label, { n }), title: t(label, { n }), ...properties });
  return el("li", { draggable: "true", data: { index } },
    el("img", { src: url, alt: t("reference_name", { n, name: file.name || "" }) }),
    el("span", { class: "badge", "aria-hidden": "true" }, String(n)),
    el("span", { class: "reference-tools" },
      tool("←", "reference_earlier", () => move(index, index - 1, -1), { disabled: index === 0, data: { by: -1 } }),
      tool("→", "reference_later", () => move(index, index + 1, 1),
        { disabled: n === pictures.length, data: { by: 1 } }),
      tool("×", "reference_remove", () => remove(index), { data: { remove: "" } })));
}

function render() {
  byId("reference-list").replaceChildren(...pictures.map(item));
  byId("reference-list").hidden = pictures.length === 0;
  byId("drop").querySelector(".hint").textContent = t("references_hint", { n: limits.count });
}

// Within the list a drag puts in order; from outside it brings files.
function startDragging() {
  const list = byId("reference-list"), box = byId("references");
  let dragged = null;
  list.addEventListener("dragstart", (event) => {
    dragged = Number(event.target.closest("li").dataset.index);
    event.dataTransfer.effectAllowed = "move";
  });
  list.addEventListener("dragend", () => (dragged = null));
  list.addEventListener("dragover", (event) => dragged !== null && event.preventDefault());
  list.addEventListener("drop", (event) => {
    const target = event.target.closest("li");
    if (dragged === null || !target) return;
    event.preventDefault();
    move(dragged, Number(target.dataset.index), 1);
    dragged = null;
  });
  // The whole page takes files, so that a near miss does not replace the page by the picture.
  const brings = (event) => event.dataTransfer?.types.includes("Files") && dragged === null;
  addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    box.classList.add("wanted");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && box.classList.remove("wanted"));
  addEventListener("drop", (event) => {
    box.classList.remove("wanted");
    if (!brings(event)) return;
    event.preventDefault();
    location.hash = "#/";
    addReferences(event.dataTransfer.files);
  });
}

// `count` pictures of `bytes` each are taken.
export function limitReferences(count, bytes) {
  limits = { count, bytes };
  render();
}

export function startReferences() {
  byId("reference-input").addEventListener("change", (event) => {
    addReferences(event.target.files);
    event.target.value = "";  // the same file may be chosen again
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    addReferences(files);
  });
  startDragging();
  onLanguage(render);
  render();
}
