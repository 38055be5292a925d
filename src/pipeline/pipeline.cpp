#include "pipeline/pipeline.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>

#include "core/current_error.h"
#include "core/rng.h"
#include "pipeline/condition.h"
#include "pipeline/denoise.h"
#include "pipeline/parts.h"
#include "pipeline/prior.h"
#include "pipeline/prior_batch.h"
#include "pipeline/references.h"

namespace glmimage {
namespace {

// Adds a stage's wall time to the result when the stage's block is left.
class StageClock {
 public:
  StageClock(GenerateResult& result, const char* name) : result_(result), name_(name) {}
  ~StageClock() {
    result_.seconds[name_] += std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }

 private:
  GenerateResult& result_;
  const char* name_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

void record(const RequestObserver& observer, const std::string& name, const at::Tensor& tensor) {
  if (observer.trace) observer.trace->emplace_back(name, tensor.detach().cpu().contiguous().clone());
}

// A model lists where its tensors live, and so is a copy here, which shares them.
template <typename Model>
void append_matrices(Model model, NamedTensors& out) {
  ParameterList list;
  model.list(list);
  for (const Parameter& p : list) {
    if (p.scale && !p.quantised()) out.emplace_back(p.name, *p.tensor);
  }
}

// The grid of prompt and picture, in the words of the text room.
PromptGrid prompt_grid(Grid grid) { return {grid.height, grid.width}; }

}  // namespace

Pipeline::Pipeline(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline::~Pipeline() = default;

Pipeline Pipeline::open(const PipelineOptions& options, Progress* progress) {
  const c10::InferenceMode inference;
  return Pipeline(Parts::load(options, progress));
}

int64_t Pipeline::default_size() const { return parts_->models.vae.config.sample_size; }
at::ScalarType Pipeline::dtype() const { return parts_->dtype; }
int64_t Pipeline::weight_bytes() const { return parts_->weight_bytes; }
const MemoryUse& Pipeline::memory() const { return parts_->memory; }
const std::vector<LoraUse>& Pipeline::loras() const { return parts_->loras; }

NamedTensors Pipeline::matrices() const {
  if (!parts_->memory.resident) {
    fail(ErrorKind::out_of_memory, "all weights have to stay in memory here, which has no room for them");
  }
  NamedTensors out;
  append_matrices(parts_->models.ar, out);
  append_matrices(parts_->models.glyph, out);
  append_matrices(parts_->models.dit, out);
  return out;
}

// One request's way through the stages. Each takes what it needs, gives what it makes, and never calls the one before.
struct Pipeline::Request {
  const Parts& parts;
  const GenerateRequest& request;
  const RequestObserver& observer;
  GenerateResult& result;
  DrawSize size;

  Grid target() const { return {size.drawn_height / kPixelsPerVisualToken, size.drawn_width / kPixelsPerVisualToken}; }

  std::vector<Reference> encode_pictures() const {
    const StageClock clock(result, "references");
    std::vector<Reference> references;
    if (request.references.empty()) return references;
    const Residency::Lease weights = parts.residency.lend({WeightPart::visual_tokenizer, WeightPart::vae_encoder});
    const int64_t count = static_cast<int64_t>(request.references.size());
    for (int64_t i = 0; i < count; ++i) {
      step(observer.progress, Stage::references, i, count);
      const ReferencePixels pixels = prepare_reference(request.references[static_cast<size_t>(i)], parts.preprocess);
      references.push_back(encode_reference(pixels, parts.models.visual_tokenizer, parts.models.vae));
      record(observer, concat("references.", i, ".token_ids"), references.back().tokens.ids);
      record(observer, concat("references.", i, ".latents"), references.back().latents);
    }
    step(observer.progress, Stage::references, count, count);
    return references;
  }

  // What the language model is asked for.
  PriorRequest prior_request(const std::vector<Reference>& references) const {
    PromptParts prompt{.text = request.prompt, .target = prompt_grid(target()), .draft = {}, .sources = {}};
    PriorRequest prior;
    prior.target = target();
    for (const Reference& reference : references) {
      prompt.sources.push_back(prompt_grid(reference.tokens.grid));
      prior.sources.push_back(reference.tokens);
    }
    if (references.empty()) {
      prompt.draft = draft_grid(prompt.target, parts.models.ar.config.draft_size);
      prior.draft = Grid{prompt.draft->height, prompt.draft->width};
    }
    prior.input_ids = parts.chat.build(prompt).ids;
    prior.sampling = {.temperature = request.temperature.value_or(parts.generation.temperature),
                      .top_p = request.top_p.value_or(parts.generation.top_p),
                      .top_k = parts.generation.top_k};
    return prior;
  }

  VisualTokens keep_visual_tokens(const PriorRequest& prior, PriorResult drawn) const {
    record(observer, "ar.input_ids", at::tensor(prior.input_ids, at::kLong).unsqueeze(0));
    record(observer, "ar.output_ids", drawn.output_ids);
    result.visual_tokens = drawn.output_ids.numel();
    return std::move(drawn.target);
  }

  // The autoregressive model's global generator is seeded with the request's seed, as the reference does.
  VisualTokens draw_visual_tokens(const std::vector<Reference>& references) const {
    const StageClock clock(result, "visual_tokens");
    const PriorRequest prior = prior_request(references);
    const Residency::Lease weights = parts.residency.lend({WeightPart::ar});
    at::Generator generator = make_generator(request.seed);
    return keep_visual_tokens(prior, run_prior(parts.models.ar, prior, generator, observer.progress));
  }

  // From the plan to the picture.
  void paint(const std::vector<Reference>& references, const VisualTokens& tokens) const {
    const at::Tensor latents = denoise_latents(references, tokens);
    step(observer.progress, Stage::decode, 0, 1);
    {
      const StageClock clock(result, "decode");
      const at::Tensor unit = decode(latents);
      record(observer, "image", unit);
      result.image = finish(unit);
    }
    step(observer.progress, Stage::decode, 1, 1);
  }

  // The quoted strings of the prompt, and of none.
  struct Glyphs {
    at::Tensor prompt;  // (1, G, D)
    at::Tensor empty;   // (1, 1, D)
  };
  Glyphs encode_strings() const {
    step(observer.progress, Stage::glyphs, 0, 1);
    const StageClock clock(result, "glyphs");
    const Residency::Lease weights = parts.residency.lend({WeightPart::glyph});
    Glyphs out{encode_glyphs(parts.models.glyph, parts.byte_tokenizer, request.prompt),
               encode_glyphs(parts.models.glyph, parts.byte_tokenizer, "")};
    step(observer.progress, Stage::glyphs, 1, 1);
    return out;
  }

  // From noise to latents under the conditions. Noise is drawn in float32 on the CPU whatever the model's type and
  // device, so that a seed means the same everywhere.
  at::Tensor denoise_latents(const std::vector<Reference>& references, const VisualTokens& tokens) const {
    const auto [glyphs, negative] = encode_strings();
    const StageClock clock(result, "denoise");
    const int64_t scale = parts.models.vae.config.scale();
    const at::Tensor noise =
        at::randn({1, parts.models.dit.config.in_channels, size.drawn_height / scale, size.drawn_width / scale},
                  make_generator(request.seed), at::TensorOptions(at::kFloat));  // (1, C, H/8, W/8)
    const at::Tensor prior_ids = upsample_to_prior(tokens);                      // (1, N)
    record(observer, "prior_token_ids", prior_ids);
    record(observer, "glyph.embeds", glyphs.to(at::kFloat));
    record(observer, "noise", noise);
    const Residency::Lease weights = parts.residency.lend({WeightPart::dit});
    const ReferenceCache cache = encode_references(parts.models.dit, references, observer.progress);
    StepCache step_cache(request.cache, request.steps);
    const at::Tensor latents = denoise({.model = parts.models.dit,
                                        .schedule = make_schedule(parts.scheduler, request.steps, prior_ids.size(1)),
                                        .noise = noise.to(parts.device),
                                        .glyphs = glyphs,
                                        .negative_glyphs = negative,
                                        .prior_ids = prior_ids.to(parts.device),
                                        .height = size.drawn_height,
                                        .width = size.drawn_width,
                                        .references = references.empty() ? nullptr : &cache,
                                        .guidance_scale = request.guidance_scale,
                                        .cache = &step_cache,
                                        .progress = observer.progress,
                                        .preview = preview()});
    result.transformer = step_cache.count();
    record(observer, "latents", latents);
    return latents;
  }

  // normalised latents (1, C, h, w) -> picture (1, 3, H, W) float32 in 0..1, as drawn
  at::Tensor decode(const at::Tensor& latents) const {
    const Residency::Lease weights = parts.residency.lend({WeightPart::vae_decoder});
    const at::Tensor raw = parts.models.vae.denormalise(latents.to(parts.models.vae.dtype()));
    return (parts.models.vae.decode(raw).to(at::kFloat) * 0.5 + 0.5).clamp(0, 1).cpu();
  }

  // The middle of what was drawn, in the size asked for.
  Image finish(const at::Tensor& unit) const {
    const Image drawn = from_unit_tensor(unit);
    if (drawn.width == size.width && drawn.height == size.height) return drawn;
    return crop(drawn, (drawn.width - size.width) / 2, (drawn.height - size.height) / 2, size.width, size.height);
  }

  std::function<void(int64_t, const at::Tensor&)> preview() const {
    if (!observer.preview) return {};
    return [this](int64_t step, const at::Tensor& x0) {
      const std::vector<int64_t>& steps = observer.preview_steps;
      if (!steps.empty() && std::find(steps.begin(), steps.end(), step) == steps.end()) return;
      observer.preview(step, finish(decode(x0)));
    };
  }
};

Image Pipeline::reconstruct(const Image& picture) const {
  const c10::InferenceMode inference;
  const auto turn = parts_->residency.take_turn();
  const Residency::Lease weights = parts_->residency.lend({WeightPart::vae_encoder, WeightPart::vae_decoder});
  const Vae& vae = parts_->models.vae;
  const at::Tensor unit = to_tensor(picture).permute({2, 0, 1}).unsqueeze(0).to(at::kFloat) / 255;  // (1, 3, H, W)
  const at::Tensor raw = vae.encode((unit * 2 - 1).to(vae.device(), vae.dtype())).mean;
  return from_unit_tensor((vae.decode(raw).to(at::kFloat) * 0.5 + 0.5).cpu());
}

GenerateResult Pipeline::generate(const GenerateRequest& request, const RequestObserver& observer) const {
  validate(request);
  const c10::InferenceMode inference;
  const auto turn = parts_->residency.take_turn();
  GenerateResult result;
  result.seed = request.seed;
  const Request run{*parts_, request, observer, result, resolve_size(request, default_size(), default_size())};
  const std::vector<Reference> references = run.encode_pictures();
  run.paint(references, run.draw_visual_tokens(references));
  return result;
}

// One of several pictures between the stages.
struct Pipeline::Drawing {
  Drawing(const Parts& parts, GenerateTask& its_task, int64_t side)
      : task(its_task), run{parts, task.request, task.observer, result, resolve_size(task.request, side, side)} {
    result.seed = task.request.seed;
    references = run.encode_pictures();
    prior = run.prior_request(references);
  }
  Drawing(const Drawing&) = delete;  // `run` refers to it
  Drawing& operator=(const Drawing&) = delete;

  GenerateTask& task;
  GenerateResult result;
  const Request run;
  std::vector<Reference> references;
  PriorRequest prior;
  std::optional<VisualTokens> tokens;  // unset: it has failed
};

void Pipeline::draw_visual_tokens(const std::vector<std::unique_ptr<Drawing>>& drawings) const {
  const auto began = std::chrono::steady_clock::now();
  std::vector<PriorTask> priors;
  for (const auto& drawing : drawings) {
    priors.push_back({.request = drawing->prior,
                      .generator = make_generator(drawing->task.request.seed),
                      .progress = drawing->task.observer.progress});
  }
  std::vector<std::variant<PriorResult, Error>> drawn;
  try {
    const Residency::Lease weights = parts_->residency.lend({WeightPart::ar});
    drawn = run_priors(parts_->models.ar, priors);
  } catch (...) {
    drawn.assign(drawings.size(), current_error());
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  for (size_t i = 0; i < drawings.size(); ++i) {
    Drawing& drawing = *drawings[i];
    if (const Error* error = std::get_if<Error>(&drawn[i])) {
      drawing.task.failed(*error);
      continue;
    }
    drawing.result.seconds["visual_tokens"] = seconds / static_cast<double>(drawings.size());
    drawing.tokens = drawing.run.keep_visual_tokens(drawing.prior, std::get<PriorResult>(std::move(drawn[i])));
  }
}

void Pipeline::generate(std::span<GenerateTask> tasks) const {
  const c10::InferenceMode inference;
  const auto turn = parts_->residency.take_turn();
  const size_t together = static_cast<size_t>(parts_->memory.together);
  for (size_t first = 0; first < tasks.size(); first += together) {
    std::vector<std::unique_ptr<Drawing>> drawings;
    for (GenerateTask& task : tasks.subspan(first, std::min(together, tasks.size() - first))) {
      try {
        validate(task.request);
        drawings.push_back(std::make_unique<Drawing>(*parts_, task, default_size()));
      } catch (...) {
        task.failed(current_error());
      }
    }
    draw_visual_tokens(drawings);
    for (const auto& drawing : drawings) {
      if (!drawing->tokens) continue;
      try {
        drawing->run.paint(drawing->references, *drawing->tokens);
      } catch (...) {
        drawing->task.failed(current_error());
        continue;
      }
      drawing->task.done(std::move(drawing->result));
    }
  }
}

}  // namespace glmimage
