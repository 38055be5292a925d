#pragma once

#include "models/vae/blocks.h"
#include "models/vae/config.h"

namespace glmimage {

// Pictures -> moments of the latents. Const after loading.
struct VaeEncoder {
  explicit VaeEncoder(const VaeConfig& config);
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;  // (B, 3, H, W) -> (B, 2·latent_channels, H/scale, W/scale)

  Conv2d conv_in;
  std::vector<VaeBlock> down_blocks;
  VaeMidBlock mid_block;
  GroupNorm conv_norm_out;
  Conv2d conv_out;
};

}  // namespace glmimage
