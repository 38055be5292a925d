#include "pipeline/forecast.h"

#include <algorithm>
#include <utility>

#include "core/memory.h"
#include "core/weight_files.h"
#include "pipeline/prior_batch.h"
#include "pipeline/references.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

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

// The outline with the model's own rules for sizes. A token of a prompt is about four bytes, an eighth of it is quoted.
RequestShape shape_of(const RequestOutline& outline, const Vae& vae, const PreprocessConfig& preprocess) {
  const int64_t own = vae.config.sample_size;
  GenerateRequest request;
  request.width = outline.width;
  request.height = outline.height;
  const DrawSize size = resolve_size(request, own, own);
  RequestShape out{.height = size.drawn_height,
                   .width = size.drawn_width,
                   .references = {},
                   .text_tokens = 16 + outline.prompt_bytes / 4,
                   .glyph_tokens = 2 + outline.prompt_bytes / 8,
                   .guided = outline.guidance_scale > 1};
  for (const PixelSize& each : outline.references) out.references.push_back(encoded_size(each, preprocess));
  return out;
}

}  // namespace

Forecast forecast_memory(const PipelineOptions& options, const Adapters& adapters) {
  const at::ScalarType dtype = choose_dtype(options);
  Forecast out{.dtype = dtype,
               .stored = Models::open(options.model, {}),
               .sketch = Models::open(options.model, {.dtype = dtype, .device = at::Device(at::kMeta)}),
               .costs = {},
               .largest = {},
               .needs = {}};
  out.costs = part_costs(out.stored, out.sketch, adapters, options.device);
  out.largest = shape_of(options.largest, out.sketch.vae, PreprocessConfig::open(options.model / "processor"));
  out.needs = stage_needs(out.sketch, out.largest, Arithmetic::of(options.device, dtype));
  Models& m = out.sketch;
  out.weight_bytes =
      bytes_of(m.ar) + bytes_of(m.visual_tokenizer) + bytes_of(m.glyph) + bytes_of(m.dit) + bytes_of(m.vae);
  return out;
}

BatchPlan plan_batch(const Forecast& forecast, const PipelineOptions& options, std::optional<int64_t> free) {
  BatchPlan out{.plan = plan_memory(options.memory, forecast.costs, forecast.needs, free)};
  if (!options.device.is_cpu()) return out;  // drawn one by one (prior_batch.h)
  const int64_t most = std::min(options.largest.batch, kLargestPriorBatch);
  while (out.plan.resident && out.together < most) {
    RequestShape shape = forecast.largest;
    shape.together = out.together + 1;
    const auto needs = stage_needs(forecast.sketch, shape, Arithmetic::of(options.device, forecast.dtype));
    if (!fits_resident(options.memory, forecast.costs, needs, free)) break;
    out = {.plan = plan_resident(forecast.costs, needs), .together = shape.together};
  }
  return out;
}

}  // namespace glmimage
