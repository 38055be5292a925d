// Settings that one seldom needs. Those left alone are not sent: the server's own count.
import { button, byId, el } from "./dom.js";
import { number, onLanguage, t } from "./i18n.js";

const kSliders = [
  { name: "steps", field: "num_inference_steps", least: 1, most: 100, step: 1, usual: 50 },
  { name: "guidance", field: "guidance_scale", least: 0, most: 10, step: 0.1, usual: 1.5 },
  { name: "temperature", field: "temperature", least: 0, most: 2, step: 0.05, usual: 0.9 },
  { name: "top_p", field: "top_p", least: 0.05, most: 1, step: 0.05, usual: 0.75 },
];
const values = {};  // field -> value, of those that were moved

function show(slider) {
  const { name, field, usual } = slider;
  const input = byId(name), moved = field in values;
  input.value = values[field] ?? slider.own ?? usual;
  const own = slider.own === undefined ? t("automatic") : `${number(slider.own)} · ${t("automatic")}`;
  byId(`${name}-value`).textContent = moved ? number(values[field]) : own;
  input.setAttribute("aria-valuetext", byId(`${name}-value`).textContent);
  byId(`${name}-reset`).hidden = !moved;
}

function row(slider) {
  const { name, field, least, most, step } = slider;
  const input = el("input", { type: "range", id: name, min: least, max: most, step, on: { input: (event) => {
    values[field] = Number(event.target.value);
    show(slider);
  } } });
  const reset = button("↺", () => {
    delete values[field];
    show(slider);
    input.focus();
  }, { class: "tool", id: `${name}-reset`, "aria-label": t("reset", { name: t(name) }) });
  return el("div", { class: "slider" }, el("label", { for: name }, t(name)),
    el("output", { id: `${name}-value`, for: name }), reset, input);
}

function render() {
  byId("sliders").replaceChildren(...kSliders.map(row));
  kSliders.forEach(show);
}

export const sliderFields = () => ({ ...values });

export function setSliders(fields) {
  for (const slider of kSliders) {
    const value = fields[slider.field];
    if (value === undefined || value === null || value === slider.own) delete values[slider.field];
    else {
      values[slider.field] = Number(value);
      if (value > slider.most) slider.most = Number(value);
    }
  }
  render();
}

// `drawing`: the model's defaults, from /v1/models.
export function startSliders(drawing) {
  for (const slider of kSliders) slider.own = drawing[slider.field] ?? undefined;
  kSliders[0].most = Math.min(drawing.max_steps, Math.max(100, drawing.num_inference_steps));
  onLanguage(render);
  render();
}
