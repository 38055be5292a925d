#include "train/losses/flow_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "pipeline/scheduler.h"

namespace glmimage::train {
namespace {

at::Tensor prior_of(const EncodedPictures& pictures) { return upsample_to_prior({pictures.grid, pictures.ids}); }

at::Tensor size_of(Grid grid) {  // (1, 2): height and width in pixels
  const auto pixels = [](int64_t tokens) { return static_cast<double>(tokens * kPixelsPerVisualToken); };
  return at::tensor({pixels(grid.height), pixels(grid.width)}, at::kFloat).unsqueeze(0);
}

// What stood over at the top and on the left when a picture was cut to its bucket: (B, 2).
at::Tensor crops_of(const std::vector<Framing>& framings) {
  at::Tensor crops = at::zeros({static_cast<int64_t>(framings.size()), 2}, at::kFloat);
  auto values = crops.accessor<float, 2>();
  for (size_t i = 0; i < framings.size(); ++i) {
    values[static_cast<int64_t>(i)][0] = static_cast<float>(framings[i].y);
    values[static_cast<int64_t>(i)][1] = static_cast<float>(framings[i].x);
  }
  return crops;
}

// Keys and values of the references of an editing pair (pipeline's encode_references for a batch, with gradients).
ReferenceCache write_references(const DitModel& dit, const EncodedBatch& batch, const at::Tensor& dropped,
                                Activations activations) {
  ReferenceCache cache;
  const at::Device device = dit.device();
  for (const EncodedPictures& reference : batch.references) {
    dit.write_references({.latents = reference.latents,
                          .glyphs = at::zeros({1, 0, dit.config.text_dim}, reference.latents.options()),
                          .prior_ids = prior_of(reference),
                          .timestep = at::zeros({1}, at::kFloat).to(device),
                          .target_size = size_of(reference.grid).to(device),
                          .crop = at::zeros({1, 2}, at::kFloat).to(device)},
                         cache, activations);
  }
  if (dropped.any().item<bool>()) {
    cache.mask = dropped.logical_not().unsqueeze(1).expand({batch.size(), cache.tokens()}).to(device);
  }
  return cache;
}

std::vector<std::string> captions_or_nothing(const EncodedBatch& batch, const at::Tensor& dropped) {
  std::vector<std::string> captions = batch.captions;
  for (int64_t i = 0; i < batch.size(); ++i) {
    if (dropped[i].item<bool>()) captions[static_cast<size_t>(i)].clear();
  }
  return captions;
}

}  // namespace

NoiseLevels draw_noise_levels(Density density, int64_t count, int64_t image_tokens, at::Generator noise) {
  at::Tensor times;  // (B)
  switch (density) {
    // Twice as many at 1 as in the middle: shapes are decided while the noise is strong.
    case Density::towards_noise: times = at::rand({count}, noise, at::kFloat).sqrt(); break;
    case Density::uniform: times = at::rand({count}, noise, at::kFloat); break;
    case Density::logit_normal: times = at::randn({count}, noise, at::kFloat).sigmoid(); break;  // Esser et al. 2024
  }
  const double mu = resolution_shift(SchedulerConfig(), image_tokens);
  return {times, mu * times / (1.0 + (mu - 1.0) * times)};
}

at::Tensor flow_loss(const FlowModel& model, const EncodedBatch& batch, const DitSettings& settings,
                     at::Generator noise, Activations activations) {
  const int64_t count = batch.size();
  const at::Tensor& latents = batch.target.latents;  // (B, C, h, w)
  const at::Device device = latents.device();
  const NoiseLevels levels = draw_noise_levels(settings.density, count, 4 * batch.target.grid.count(), noise);
  // Drawn on the CPU, so that a seed means the same everywhere.
  const at::Tensor epsilon = at::randn(latents.sizes(), noise, at::kFloat).to(device);  // (B, C, h, w)
  const at::Tensor dropped = at::rand({count}, noise, at::kFloat) < settings.drop;      // (B) bool
  const GlyphBatch glyphs = encode_glyph_batch(model.glyph, captions_or_nothing(batch, dropped));

  const at::Tensor s = levels.sigmas.view({count, 1, 1, 1}).to(device);
  DitInput input;
  input.latents = (1 - s) * latents + s * epsilon;
  input.glyphs = glyphs.glyphs;
  input.glyph_mask = glyphs.mask;
  input.prior_ids = prior_of(batch.target);
  input.prior_drop = dropped.to(device);
  input.timestep = (levels.times * 1000 - 1).clamp_min(0).to(device);
  input.crop = (settings.tell_crop ? crops_of(batch.framings) : at::zeros({1, 2}, at::kFloat)).to(device);
  input.target_size = size_of(batch.target.grid).expand({input.crop.size(0), 2}).to(device);
  ReferenceCache references;
  if (!batch.references.empty()) references = write_references(model.dit, batch, dropped, activations);
  const at::Tensor velocity =
      model.dit.forward(input, batch.references.empty() ? nullptr : &references, activations);  // like latents
  const at::Tensor loss = at::mse_loss(velocity.to(at::kFloat), epsilon - latents);
  if (settings.glyph_place == 0) return loss;
  return loss + settings.glyph_place * glyph_place_loss(model.glyph_places, glyphs.glyphs, glyphs.places);
}

}  // namespace glmimage::train
