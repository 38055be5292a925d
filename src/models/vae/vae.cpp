#include "models/vae/vae.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "core/error.h"

namespace glmimage {
namespace {

// One number per channel, broadcast over (B, C, h, w), like `like` in type and device.
at::Tensor channel_values(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::kFloat).to(like.options()).view({1, static_cast<int64_t>(values.size()), 1, 1});
}

// Activations in the model's type and in the memory layout that suits it; every layer keeps the layout it is given.
// On a CPU channels_last: bfloat16 convolutions are up to 28 times faster in it, and strips of rows are dense, so that
// nothing is copied for a convolution. Where autograd may follow, and on the way in, float32 keeps the layout of
// its input, which decides how ATen's group_norm sums (strips.h). Other devices: contiguous, which every one of
// them takes (LibTorch's own group_norm for a device without a kernel of its own refuses channels_last).
enum class Way { in, out };
at::Tensor activations(const at::Tensor& x, at::ScalarType dtype, Way way) {
  if (!x.is_cpu()) return x.to(dtype).contiguous();
  const bool kept = (at::GradMode::is_enabled() || way == Way::in) && !at::isReducedFloatingType(dtype);
  return x.to(dtype).contiguous(kept ? x.suggest_memory_format() : at::MemoryFormat::ChannelsLast);
}

void require_shape(const at::Tensor& x, int64_t channels, int64_t multiple, const char* what) {
  if (x.dim() != 4 || x.size(1) != channels || x.size(2) <= 0 || x.size(3) <= 0 || x.size(2) % multiple != 0 ||
      x.size(3) % multiple != 0) {
    fail(ErrorKind::usage, "VAE: expected ", what, " of shape (batch, ", channels,
         ", height, width) with sides that are ", "multiples of ", multiple, ", not ", x.sizes());
  }
}

}  // namespace

Vae::Vae(const VaeConfig& config) : config(config), encoder(config), decoder(config) {
  if (config.use_quant_conv) quant_conv.emplace(2 * config.latent_channels, 2 * config.latent_channels, 1);
  if (config.use_post_quant_conv) post_quant_conv.emplace(config.latent_channels, config.latent_channels, 1);
}

Vae Vae::open(const std::filesystem::path& folder, const Placement& placement) {
  Vae vae(VaeConfig::from_json(JsonObject::open(folder / "config.json")));
  ParameterList list;
  vae.list(list);
  Placement safe = placement;
  if (safe.dtype == at::kHalf) safe.dtype = at::kFloat;
  load_parameters(list, WeightFiles::open(folder), safe);
  for (const Parameter& p : list) {
    if (p.tensor->scalar_type() == at::kHalf) *p.tensor = p.tensor->to(at::kFloat);
  }
  return vae;
}

void Vae::list(ParameterList& list) {
  encoder.list(list, "encoder");
  decoder.list(list, "decoder");
  if (quant_conv) quant_conv->list(list, "quant_conv");
  if (post_quant_conv) post_quant_conv->list(list, "post_quant_conv");
}

Moments Vae::encode(const at::Tensor& pixels) const {
  require_shape(pixels, VaeConfig::kPictureChannels, config.scale(), "pixels");
  at::Tensor moments = encoder(activations(pixels, dtype(), Way::in));  // (B, 2·latent_channels, h, w)
  if (quant_conv) moments = (*quant_conv)(moments);
  moments = moments.contiguous();
  return {moments.narrow(1, 0, config.latent_channels),
          moments.narrow(1, config.latent_channels, config.latent_channels).clamp(-30.0, 20.0)};
}

at::Tensor Vae::decode(const at::Tensor& raw) const {
  require_shape(raw, config.latent_channels, 1, "latents");
  at::Tensor z = activations(raw, dtype(), Way::out);
  if (post_quant_conv) z = (*post_quant_conv)(z);
  return decoder(z).contiguous();
}

at::Tensor Vae::normalise(const at::Tensor& raw) const {
  return (raw - channel_values(config.latents_mean, raw)) / channel_values(config.latents_std, raw);
}

at::Tensor Vae::denormalise(const at::Tensor& z) const {
  return z * channel_values(config.latents_std, z) + channel_values(config.latents_mean, z);
}

}  // namespace glmimage
