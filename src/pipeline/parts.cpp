#include "pipeline/parts.h"

#include <filesystem>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "core/memory.h"
#include "pipeline/adapters.h"
#include "pipeline/forecast.h"
#include "pipeline/model_identity.h"
#include "pipeline/prior.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLoadSteps = 5;

// All weights, where and as they are to stay.
Models load_resident(const fs::path& folder, const Placement& placement, const Adapters& adapters, Progress* progress) {
  ArModel ar = ArModel::open(folder / "vision_language_encoder", placement);
  adapters.merge_into(ar);
  ar.fuse();
  step(progress, Stage::load, 1, kLoadSteps);
  VisualTokenizer visual_tokenizer = VisualTokenizer::open(folder / "vision_language_encoder", placement);
  step(progress, Stage::load, 2, kLoadSteps);
  GlyphEncoder glyph = GlyphEncoder::open(folder / "text_encoder", placement);
  step(progress, Stage::load, 3, kLoadSteps);
  DitModel dit = DitModel::open(folder / "transformer", placement);
  adapters.merge_into(dit);
  step(progress, Stage::load, 4, kLoadSteps);
  return {.ar = std::move(ar),
          .visual_tokenizer = std::move(visual_tokenizer),
          .glyph = std::move(glyph),
          .dit = std::move(dit),
          .vae = Vae::open(folder / "vae", placement)};
}

}  // namespace

std::unique_ptr<const Pipeline::Parts> Pipeline::Parts::load(const PipelineOptions& options, Progress* progress) {
  const fs::path& folder = options.model;
  check_checkpoint(folder);
  Adapters adapters = read_adapters(options.loras, folder);
  step(progress, Stage::load, 0, kLoadSteps);
  Forecast forecast = forecast_memory(options, adapters);
  const auto [plan, together] = plan_batch(forecast, options, free_bytes(options.device));
  const ControlIds control = control_ids(forecast.sketch.ar.config);
  std::unique_ptr<Parts> parts(new Parts{
      .device = options.device,
      .dtype = forecast.dtype,
      .weight_bytes = forecast.weight_bytes,
      .memory = {.resident = plan.resident, .together = together, .peak_bytes = plan.peak},
      .loras = std::move(adapters.uses),
      .chat = ChatTemplate::open(folder / "processor", control),
      .byte_tokenizer = ByteTokenizer::open(folder / "tokenizer"),
      .preprocess = PreprocessConfig::open(folder / "processor"),
      .generation = GenerationConfig::open(folder / "vision_language_encoder"),
      .scheduler = SchedulerConfig::from_json(JsonObject::open(folder / "scheduler" / "scheduler_config.json")),
      .models = plan.resident ? load_resident(folder, {forecast.dtype, options.device}, adapters, progress)
                              : std::move(forecast.stored),
      .residency = {},
  });
  if (!plan.resident) {
    return_freed_memory();
    parts->residency = Residency(parts->models, forecast.sketch, std::move(adapters), plan, options.device);
  }
  if (parts->models.dit.config.codes < parts->models.ar.config.codebook_size) {
    fail(ErrorKind::checkpoint, folder.string(), ": the language model draws ", parts->models.ar.config.codebook_size,
         " codes but the transformer knows ", parts->models.dit.config.codes, "; parts of two checkpoints mixed?");
  }
  step(progress, Stage::load, kLoadSteps, kLoadSteps);
  return parts;
}

}  // namespace glmimage
