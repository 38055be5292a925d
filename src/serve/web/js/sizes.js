// Which size to draw: shapes about as large as the model's own size, or numbers of one's own.
import { byId, el } from "./dom.js";
import { t } from "./i18n.js";

const kShapes = [[1, 1], [4, 3], [3, 4], [3, 2], [2, 3], [16, 9], [9, 16]];
const kToken = 32;  // pixels of a visual token: sides are multiples of it, or the picture is cropped

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));
const rounded = (side) => Math.max(kToken, Math.round(side / kToken) * kToken);

let limit = Infinity;

function shapesOf(side) {
  const seen = new Set();
  const out = [];
  for (const [across, down] of kShapes) {
    const width = rounded(side * Math.sqrt(across / down)), height = rounded(side * Math.sqrt(down / across));
    const text = `${width}x${height}`;
    if (seen.has(text)) continue;  // of a model for small pictures, shapes fall together
    seen.add(text);
    // Rounding makes other shapes of small pictures.
    const close = Math.abs((width * down) / (height * across) - 1) < 0.06, d = divisor(width, height);
    out.push({ width, height, text, name: close ? `${across}:${down}` : `${width / d}:${height / d}` });
  }
  return out;
}

// A rectangle of the shape, 18 units wide or high.
function drawing({ width, height }) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), rect = document.createElementNS(space, "rect");
  const w = 18 * Math.min(1, width / height), h = 18 * Math.min(1, height / width);
  for (const [name, value] of Object.entries({ viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  for (const [name, value] of Object.entries({ x: 10 - w / 2, y: 10 - h / 2, width: w, height: h, rx: 1.5 })) {
    rect.setAttribute(name, value);
  }
  svg.append(rect);
  return svg;
}

function choice(value, ...content) {
  const id = `size-${value}`;
  const input = el("input", { type: "radio", name: "size", id, value, on: { change: showFree } });
  return [input, el("label", { for: id }, ...content)];
}

function chosen() {
  return document.querySelector('input[name="size"]:checked')?.value ?? "free";
}

function showFree() {
  byId("free-size").hidden = chosen() !== "free";
}

// `size`: "1024x1024", the model's own; `most`: pixels of a picture.
export function startSizes(size, most) {
  limit = most;
  const side = Number(size.split("x")[0]);
  const free = el("span", { "data-t": "size_free" }, t("size_free"));
  byId("shapes").replaceChildren(
    ...shapesOf(side).filter((each) => each.width * each.height <= most).flatMap((shape) =>
      choice(shape.text, drawing(shape), el("span", {}, shape.name), el("small", {}, `${shape.width}×${shape.height}`))),
    ...choice("free", free));
  byId("width").value = byId("height").value = side;
  document.querySelector('input[name="size"]').checked = true;
  showFree();
}

export function setSize(text) {
  const preset = document.querySelector(`input[name="size"][value="${CSS.escape(text)}"]`);
  [byId("width").value, byId("height").value] = text.split("x");
  (preset ?? byId("size-free")).checked = true;
  showFree();
}

// "640x480"; throws an Error in words.
export function getSize() {
  if (byId("shapes").childElementCount === 0) return "auto";  // the model is not known yet
  if (chosen() !== "free") return chosen();
  const sides = ["width", "height"].map((id) => Number(byId(id).value));
  const wrong = sides.findIndex((side) => !Number.isInteger(side) || side < kToken || side > 32768);
  if (wrong >= 0) throw Object.assign(new Error(t("wrong_size")), { field: ["width", "height"][wrong] });
  if (sides[0] * sides[1] > limit) {
    const n = Math.round(limit / 1e4) / 100;
    throw Object.assign(new Error(t("wrong_size_large", { n })), { field: "width" });
  }
  return sides.join("x");
}
