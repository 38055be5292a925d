// A picture's settings, for people and for programs.

export const sizeOf = (picture) => `${picture.width}x${picture.height}`;

// The settings that draw this picture again: the fields of POST /v1/images/generations.
export function fieldsOf(job, picture) {
  const request = job.request;
  return {
    prompt: request.prompt,
    size: sizeOf(picture),
    seed: picture.seed,
    num_inference_steps: request.num_inference_steps,
    guidance_scale: request.guidance_scale,
    temperature: request.temperature ?? undefined,
    top_p: request.top_p ?? undefined,
    lora: request.lora ?? undefined,
    output_format: request.output_format,
    output_compression: request.output_compression ?? undefined,
  };
}

// A seed beyond what a JavaScript number holds is text here, and a number in the JSON.
export function toJson(job, picture) {
  const text = JSON.stringify(fieldsOf(job, picture), null, 2);
  return text.replace(/^( {2}"seed": )"(\d+)"/m, "$1$2");
}

const quote = (value) => (/[,:\n\r"]/.test(value) ? JSON.stringify(value) : value);

// As Stable Diffusion's web UI writes it, and as the server writes it into the picture.
export function toParameters(job, picture, model) {
  const request = job.request;
  const settings = {
    Steps: request.num_inference_steps, Sampler: "Euler", "CFG scale": request.guidance_scale, Seed: picture.seed,
    Size: sizeOf(picture), Model: quote(model), Temperature: request.temperature, "Top p": request.top_p,
    "Reference pictures": request.references || null,
  };
  const list = Object.entries(settings).filter(([, value]) => value !== null && value !== undefined);
  return `${request.prompt}\n${list.map(([name, value]) => `${name}: ${value}`).join(", ")}`;
}

export const fileName = (job, picture) =>
  `glm-image-${job.id.slice(0, 13)}-${picture.index + 1}.${picture.mime.split("/")[1].replace("jpeg", "jpg")}`;
