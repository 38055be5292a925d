// The drawing form: what is asked for.
import { createJob, readReference, wordsOf } from "./api.js";
import { byId, showError, toast } from "./dom.js";
import { fileSize, t } from "./i18n.js";
import { fieldsOf } from "./recipe.js";
import { addReferences, limitReferences, references, setReferences, startReferences } from "./references.js";
import { getSize, setSize, startSizes } from "./sizes.js";
import { setSliders, sliderFields, startSliders } from "./sliders.js";

const kLargestSeed = 9223372036854775791n;
let drawing = { max_prompt_characters: 32000, max_body_bytes: Infinity };

const wrong = (field, words) => Object.assign(new Error(words), { field });

function readPrompt() {
  const prompt = byId("prompt").value;
  const length = [...prompt].length, most = drawing.max_prompt_characters;
  if (!prompt.trim()) throw wrong("prompt", t("wrong_prompt"));
  if (length > most) throw wrong("prompt", t("wrong_prompt_long", { n: length, most }));
  return prompt;
}

function readSeed() {
  if (byId("seed-random").checked) return undefined;
  const text = byId("seed").value.trim();
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > kLargestSeed) throw wrong("seed", t("wrong_seed"));
  return text;
}

function readCount() {
  const count = Number(byId("count").value);
  if (!Number.isInteger(count) || count < 1 || count > 10) throw wrong("count", t("wrong_count"));
  return count;
}

// The API's fields; throws what is wrong, in words.
function readForm() {
  const bytes = references().reduce((sum, file) => sum + file.size, 0), most = drawing.max_body_bytes;
  if (bytes > most) throw wrong("reference-input", t("wrong_body", { size: fileSize(bytes), most: fileSize(most) }));
  return {
    prompt: readPrompt(), size: getSize(), seed: readSeed(), n: readCount(), output_format: byId("format").value,
    partial_images: 3, ...sliderFields(),
  };
}

function fault(error) {
  for (const each of document.querySelectorAll("#draw-form [aria-invalid]")) each.removeAttribute("aria-invalid");
  showError(byId("form-error"), error ? wordsOf(error) : "");
  const field = error?.field && byId(error.field);
  if (!field) return;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-errormessage", "form-error");
  field.focus();
}

async function submit(accepted) {
  const draw = byId("draw-button");
  if (draw.ariaDisabled === "true") return;
  fault(null);
  try {
    const fields = readForm();
    draw.ariaDisabled = "true";
    accepted(await createJob(fields, references()));
  } catch (error) {
    fault(error);
  } finally {
    draw.ariaDisabled = "false";
  }
}

function showSeed() {
  byId("seed").hidden = byId("seed-random").checked;
}

// Fills the form with a picture's settings.
export async function fillForm(job, picture) {
  const fields = fieldsOf(job, picture);
  byId("prompt").value = fields.prompt;
  setSize(fields.size);
  byId("seed-fixed").checked = true;
  byId("seed").value = fields.seed;
  byId("count").value = 1;
  byId("format").value = fields.output_format;
  setSliders(fields);
  showSeed();
  fault(null);
  setReferences([]);
  addReferences(await referencesOf(job));
}

async function referencesOf(job) {
  try {
    return await Promise.all(Array.from({ length: job.request.references }, (_, i) => readReference(job.id, i)));
  } catch (error) {
    toast(error.status === 404 ? t("references_gone") : wordsOf(error));
    return [];
  }
}

// Queues a picture once more, with the same seed. Returns the job; throws what is wrong.
export async function drawSame(job, picture) {
  const files = await referencesOf(job);
  if (files.length < job.request.references) return null;
  return createJob({ ...fieldsOf(job, picture), n: 1, partial_images: 3 }, files);
}

// `accepted` is called with each job the server took.
export function startForm(accepted) {
  startReferences();
  byId("draw-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit(accepted);
  });
  byId("draw-form").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    submit(accepted);
  });
  for (const id of ["seed-random", "seed-fixed"]) {
    byId(id).addEventListener("change", () => {
      showSeed();
      if (byId("seed-fixed").checked && !byId("seed").value) byId("seed").value = Math.floor(Math.random() * 2 ** 32);
    });
  }
}

// What the server draws with by itself, and its limits.
export function setModel(model) {
  drawing = model.drawing;
  startSizes(drawing.size, drawing.max_pixels);
  startSliders(drawing);
  limitReferences(drawing.max_pictures, drawing.max_picture_bytes);
}
