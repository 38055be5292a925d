#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>

#include "core/parameters.h"
#include "models/vae/config.h"
#include "models/vae/decoder.h"
#include "models/vae/encoder.h"

namespace glmimage {

// The Gaussian the encoder sees at every latent, both (B, latent_channels, h, w). The mode, which references use, is
// the mean; a training loop may draw mean + exp(logvar / 2)·noise.
struct Moments {
  at::Tensor mean;
  at::Tensor logvar;  // clamped to [-30, 20]
};

// Pictures <-> latents: GLM-Image's autoencoder. Const after loading; works under autograd, on any device.
// Reference: diffusers 0.39.0, AutoencoderKL (without tiles).
struct Vae {
  explicit Vae(const VaeConfig& config);
  // Reads vae/ of a checkpoint. Where float16 is asked for or stored, the weights become float32: the decoder overflows
  // in float16 (black pictures). Throws ErrorKind::checkpoint.
  static Vae open(const std::filesystem::path& folder, const Placement& placement);

  void list(ParameterList& list);

  // pixels (B, 3, H, W) in -1..1, any float type, H and W multiples of config.scale() -> moments of the raw latents in
  // the model's type. Throws ErrorKind::usage for other shapes.
  Moments encode(const at::Tensor& pixels) const;

  // Raw latents (B, latent_channels, h, w), any float type -> (B, 3, scale·h, scale·w) in the model's type, nominally
  // -1..1, not clamped. Throws ErrorKind::usage for other shapes.
  at::Tensor decode(const at::Tensor& raw) const;

  // The transformer works on normalised latents z = (raw - mean) / std per channel, with the numbers of the
  // configuration cast to the latents' own type.
  at::Tensor normalise(const at::Tensor& raw) const;
  at::Tensor denormalise(const at::Tensor& z) const;

  at::ScalarType dtype() const { return encoder.conv_in.weight.scalar_type(); }
  at::Device device() const { return encoder.conv_in.weight.device(); }

  VaeConfig config;
  VaeEncoder encoder;
  VaeDecoder decoder;
  std::optional<Conv2d> quant_conv, post_quant_conv;  // 1x1, where the configuration asks for them
};

}  // namespace glmimage
