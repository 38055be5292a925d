#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "core/json.h"

namespace glmimage {

// text_encoder/config.json of a GLM-Image checkpoint (transformers' T5Config, the ByT5 encoder with gated gelu).
struct GlyphConfig {
  int64_t vocab_size = 0;           // 384: 3 specials, 256 bytes, 125 extra ids
  int64_t width = 0;                // d_model, 1472
  int64_t head_dim = 0, heads = 0;  // d_kv and num_heads: 64 and 6, their product need not be the width
  int64_t feed_forward = 0;         // d_ff, 3584
  int64_t layers = 0;               // 12
  int64_t buckets = 0;              // relative_attention_num_buckets, 32
  int64_t max_distance = 0;         // relative_attention_max_distance, 128
  double eps = 0;                   // layer_norm_epsilon

  // Throws ErrorKind::checkpoint for missing fields and for T5 variants this encoder is not.
  static GlyphConfig from_json(const JsonObject& json);
  nlohmann::json to_json() const;  // the published file
};

}  // namespace glmimage
