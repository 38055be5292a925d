#pragma once

#include "models/vae/blocks.h"
#include "models/vae/config.h"

namespace glmimage {

// Latents -> pictures. Const after loading.
struct VaeDecoder {
  explicit VaeDecoder(const VaeConfig& config);
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& z) const;  // (B, latent_channels, h, w) -> (B, 3, scale·h, scale·w)

  Conv2d conv_in;
  VaeMidBlock mid_block;
  std::vector<VaeBlock> up_blocks;
  GroupNorm conv_norm_out;
  Conv2d conv_out;
};

}  // namespace glmimage
