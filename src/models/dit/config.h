#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "core/json.h"

namespace glmimage {

// transformer/config.json of a GLM-Image checkpoint (diffusers' GlmImageTransformer2DModel).
struct DitConfig {
  int64_t heads = 0, head_dim = 0, layers = 0;  // 32, 128 and 30 in the published model
  int64_t patch_size = 2;                       // latents per side of one image token
  int64_t in_channels = 0, out_channels = 0;    // 16
  int64_t text_dim = 0;                         // width of the glyph encoder, 1472
  int64_t time_dim = 0;                         // width of the conditioning vector, 512
  int64_t condition_dim = 0;                    // features per size or crop number, 256
  int64_t codes = 0;                            // ids the prior may hold, 16384

  int64_t width() const { return heads * head_dim; }

  // Every field is required; the class defaults of the reference are another model. Throws ErrorKind::checkpoint.
  static DitConfig from_json(const JsonObject& json);
  nlohmann::json to_json() const;  // the published file
};

}  // namespace glmimage
