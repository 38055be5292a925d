#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/json.h"

namespace glmimage {

// vae/config.json of a GLM-Image checkpoint (diffusers' AutoencoderKL).
struct VaeConfig {
  std::vector<int64_t> widths;   // block_out_channels, from the picture inwards: 128, 512, 1024, 1024
  int64_t layers_per_block = 0;  // 3; the decoder has one more
  int64_t latent_channels = 0;   // 16
  int64_t norm_groups = 0;       // 32
  int64_t sample_size = 0;       // pixels a side the model was made for; the tile of the tiled decoder
  bool mid_block_attention = false;
  bool use_quant_conv = false, use_post_quant_conv = false;
  std::vector<double> latents_mean, latents_std;  // one per latent channel

  // Not used by GLM-Image; kept so that the file round-trips.
  double scaling_factor = 0.18215;
  std::optional<double> shift_factor;
  bool force_upcast = true;

  static constexpr int64_t kPictureChannels = 3;
  int64_t scale() const { return int64_t{1} << (widths.size() - 1); }  // pixels per latent, along one side

  // Every field that shapes the model is required: the class defaults of the reference are another model. Block types,
  // activations and channel counts this code does not know are refused by name. Throws ErrorKind::checkpoint.
  static VaeConfig from_json(const JsonObject& json);
  nlohmann::json to_json() const;  // the published file
};

}  // namespace glmimage
