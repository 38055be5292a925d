#include "train/rl/painter.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include <algorithm>

#include "core/autocast.h"
#include "core/json.h"
#include "pipeline/velocity.h"
#include "train/data/content_hash.h"
#include "train/stages/starting_point.h"

namespace glmimage::train::rl {
namespace {

constexpr int64_t kDecodedAtOnce = 16;  // pictures

SchedulerConfig scheduler_of(const StageOptions& options) {
  const std::filesystem::path file = options.init / "scheduler" / "scheduler_config.json";
  return std::filesystem::exists(file) ? SchedulerConfig::from_json(JsonObject::open(file)) : SchedulerConfig();
}

}  // namespace

std::optional<at::ScalarType> arithmetic_of(const TrainConfig& config) {
  return config.precision == Precision::bfloat16 ? std::optional(at::kBFloat16) : std::nullopt;
}

Foundations painted_foundations(const StageOptions& options) {
  return {{"VAE", hash_weights(vae_folder(options))},
          {"transformer in --init", hash_weights(init_part(options.init, "transformer"))},
          {"text encoder in --init", hash_weights(init_part(options.init, "text_encoder"))},
          {"language model in --init", hash_weights(init_part(options.init, "vision_language_encoder"))}};
}

Painter::Painter(const StageOptions& options, const Preset& preset)
    : device_(options.device),
      arithmetic_(arithmetic_of(options.config)),
      guidance_scale_(options.config.rl.guidance_scale),
      vae_(Vae::open(vae_folder(options), {at::kFloat, options.device})) {
  const int64_t side = std::max<int64_t>(1, preset.picture_size / kPixelsPerVisualToken);
  grid_ = {side, side};
  schedule_ = make_schedule(scheduler_of(options), options.config.rl.draw_steps, 4 * grid_.count());
}

at::Tensor Painter::noise(int64_t count, at::Generator generator) const {
  const int64_t scale = vae_.config.scale();
  return at::randn({count, vae_.config.latent_channels, grid_.height * kPixelsPerVisualToken / scale,
                    grid_.width * kPixelsPerVisualToken / scale},
                   generator, at::TensorOptions(at::kFloat))
      .to(device_);
}

DenoiseRequest Painter::request(const DitModel& model, const Chunk& chunk, const GlyphBatch& glyphs,
                                const GlyphBatch& negative) const {
  return {.model = model,
          .schedule = schedule_,
          .noise = chunk.noise,
          .glyphs = glyphs.glyphs,
          .glyph_mask = glyphs.mask,
          .negative_glyphs = negative.glyphs,
          .prior_ids = upsample_to_prior(chunk.tokens),
          .height = grid_.height * kPixelsPerVisualToken,
          .width = grid_.width * kPixelsPerVisualToken,
          .guidance_scale = guidance_scale_};
}

at::Tensor Painter::paint(const FlowModel& model, const Chunk& chunk) const {
  at::NoGradGuard no_grad;
  const Autocast precision(device_, arithmetic_);
  const GlyphBatch glyphs = encode_glyph_batch(model.glyph, chunk.captions);
  return denoise(request(model.dit, chunk, glyphs, encode_glyph_batch(model.glyph, {""})));
}

std::vector<Image> Painter::decode(const at::Tensor& latents) const {
  at::NoGradGuard no_grad;
  const Autocast none(device_, std::nullopt);  // as the pipeline decodes
  std::vector<Image> images;
  for (int64_t first = 0; first < latents.size(0); first += kDecodedAtOnce) {
    const at::Tensor some = latents.narrow(0, first, std::min(kDecodedAtOnce, latents.size(0) - first));
    const at::Tensor pixels = (vae_.decode(vae_.denormalise(some)) * 0.5 + 0.5).cpu();  // (B, 3, H, W)
    for (int64_t i = 0; i < pixels.size(0); ++i) images.push_back(from_unit_tensor(pixels[i]));
  }
  return images;
}

DitInput conditioned(const Chunk& chunk, const GlyphBatch& glyphs, const at::Tensor& latents,
                     const at::Tensor& timestep) {
  const int64_t times = latents.size(0) / chunk.size();
  const at::Device device = latents.device();
  const Grid grid = chunk.tokens.grid;
  return {.latents = latents,
          .glyphs = glyphs.glyphs.repeat({times, 1, 1}),
          .glyph_mask = glyphs.mask.repeat({times, 1}),
          .prior_ids = upsample_to_prior(chunk.tokens).repeat({times, 1}),
          .timestep = timestep,
          .target_size = pixel_pair(grid.height * kPixelsPerVisualToken, grid.width * kPixelsPerVisualToken, device),
          .crop = pixel_pair(0, 0, device)};
}

}  // namespace glmimage::train::rl
