export const byId = (id) => document.getElementById(id);

// An element. Properties: `class`, `on: {event: handler}`, `data: {…}`; true sets an empty attribute, false, null and
// undefined none; all else is an attribute. Text is never read as HTML.
export function el(tag, properties = {}, ...children) {
  const out = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) out.addEventListener(event, handler);
    } else if (name === "data") {
      Object.assign(out.dataset, value);
    } else {
      out.setAttribute(name, value === true ? "" : value);
    }
  }
  out.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return out;
}

export const button = (text, action, properties = {}) =>
  el("button", { type: "button", ...properties, on: { click: action } }, text);

// Told by screen readers, seen by nobody.
export function announce(text) {
  byId("announce").textContent = text;
}

let toastTimer = 0;

// A sentence at the edge of the page, for a while.
export function toast(text) {
  const box = byId("toast");
  box.textContent = text;
  box.hidden = false;
  announce(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (box.hidden = true), 4000);
}

export function showError(box, text) {
  box.textContent = text ?? "";
  box.hidden = !text;
}

// Asks before what cannot be undone. Escape is no.
export function ask(question, yes) {
  const dialog = byId("ask-dialog");
  byId("ask-text").textContent = question;
  byId("ask-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Only pages served by https or from this machine may use the clipboard; the old way works for all.
    const area = el("textarea", { class: "sr", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copy");
  }
}
