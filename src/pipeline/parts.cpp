#include "pipeline/parts.h"

#include <filesystem>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/weight_files.h"
#include "pipeline/adapters.h"
#include "pipeline/prior.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

// The folder must be a GLM-Image checkpoint; another model is refused by its own name.
void check_model_index(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    fail(ErrorKind::checkpoint, folder.string(), ": there is no such folder; --model names the folder of a checkpoint");
  }
  const JsonObject index = JsonObject::open(folder / "model_index.json");
  const std::string name = index.text("_class_name");
  if (name != "GlmImagePipeline")
    index.reject("_class_name", concat("is '", name, "'; this program draws with GlmImagePipeline"));
  for (const char* part :
       {"processor", "tokenizer", "scheduler", "text_encoder", "vision_language_encoder", "transformer", "vae"}) {
    if (!fs::is_directory(folder / part)) {
      fail(ErrorKind::checkpoint, (folder / part).string(),
           ": this part of the checkpoint is missing; an incomplete download?");
    }
  }
}

// What the weights take with their floats in float32, from the headers alone.
int64_t float32_bytes(const fs::path& folder) {
  int64_t bytes = 0;
  for (const char* part : {"text_encoder", "vision_language_encoder", "transformer", "vae"}) {
    const WeightFiles weights = WeightFiles::open(folder / part);
    for (const SafetensorsFile& file : weights.files()) {
      for (const TensorInfo& info : file.tensors()) {
        bytes += at::isFloatingType(info.dtype) ? 4 * info.elements() : static_cast<int64_t>(info.end - info.begin);
      }
    }
  }
  return bytes;
}

// float32 where it fits in half of the memory: it is what results are held to. Otherwise, and on accelerators,
// bfloat16, the type the published weights have.
at::ScalarType choose_dtype(const PipelineOptions& options) {
  if (options.dtype) return *options.dtype;
  if (!options.device.is_cpu()) return at::kBFloat16;
  return float32_bytes(options.model) <= available_memory_bytes() / 2 ? at::kFloat : at::kBFloat16;
}

template <typename Model>
int64_t bytes_of(Model& model) {
  ParameterList list;
  model.list(list);
  int64_t bytes = 0;
  for (const Parameter& p : list) bytes += p.bytes();
  return bytes;
}

}  // namespace

std::unique_ptr<const Pipeline::Parts> Pipeline::Parts::load(const PipelineOptions& options, Progress* progress) {
  const fs::path& folder = options.model;
  check_model_index(folder);
  Adapters adapters = read_adapters(options.loras, folder);
  const Placement placement{choose_dtype(options), options.device};
  constexpr int64_t kSteps = 5;
  step(progress, Stage::load, 0, kSteps);
  ArModel ar = ArModel::load(folder / "vision_language_encoder", placement);
  adapters.merge_into(ar);
  const ControlIds control = control_ids(ar.config);
  step(progress, Stage::load, 1, kSteps);
  VisualTokenizer visual_tokenizer = VisualTokenizer::open(folder / "vision_language_encoder", placement);
  step(progress, Stage::load, 2, kSteps);
  GlyphEncoder glyph = GlyphEncoder::open(folder / "text_encoder", placement);
  step(progress, Stage::load, 3, kSteps);
  DitModel dit = DitModel::open(folder / "transformer", placement);
  adapters.merge_into(dit);
  step(progress, Stage::load, 4, kSteps);
  Vae vae = Vae::open(folder / "vae", placement);
  const int64_t bytes = bytes_of(ar) + bytes_of(visual_tokenizer) + bytes_of(glyph) + bytes_of(dit) + bytes_of(vae);
  std::unique_ptr<const Parts> parts(new Parts{
      .device = options.device,
      .dtype = *placement.dtype,
      .weight_bytes = bytes,
      .loras = std::move(adapters.uses),
      .chat = ChatTemplate::open(folder / "processor", control),
      .byte_tokenizer = ByteTokenizer::open(folder / "tokenizer"),
      .preprocess = PreprocessConfig::open(folder / "processor"),
      .generation = GenerationConfig::open(folder / "vision_language_encoder"),
      .scheduler = SchedulerConfig::from_json(JsonObject::open(folder / "scheduler" / "scheduler_config.json")),
      .ar = std::move(ar),
      .visual_tokenizer = std::move(visual_tokenizer),
      .glyph = std::move(glyph),
      .dit = std::move(dit),
      .vae = std::move(vae),
  });
  if (parts->dit.config.codes < parts->ar.config.codebook_size) {
    fail(ErrorKind::checkpoint, folder.string(), ": the language model draws ", parts->ar.config.codebook_size,
         " codes but the transformer knows ", parts->dit.config.codes, "; parts of two checkpoints mixed?");
  }
  step(progress, Stage::load, kSteps, kSteps);
  return parts;
}

}  // namespace glmimage
