#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/json.h"

namespace glmimage {

// What the autoregressive model reads of vision_language_encoder/config.json (`GlmImageForConditionalGeneration`). The
// class defaults of the reference are not the published model, so the sizes and the rope settings are required fields.
// vision_config and the rest of vq_config belong to the visual tokenizer.
struct ArConfig {
  int64_t vocab_size = 0;         // rows of embed_tokens: visual ids first, then text
  int64_t visual_vocab_size = 0;  // rows of lm_head: codes, then control ids
  int64_t codebook_size = 0;      // ids 0 … codebook_size-1 are visual codes, the only ones a picture may hold
  int64_t hidden_size = 0, layers = 0, intermediate_size = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  bool attention_bias = true;  // on q, k and v
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  double partial_rotary_factor = 1;    // rotary_dim() = trunc(head_dim · factor)
  std::vector<int64_t> mrope_section;  // frequencies per axis (temporal, height, width), contiguous
  int64_t begin_image_id = 0, end_image_id = 0, image_placeholder_id = 0;
  int64_t eos_id = 0, pad_id = 0;
  int64_t draft_size = 16;  // tokens a side of a square picture's draft: our own field, absent from the published file
  int64_t max_positions = 131072;  // not enforced, kept for the round trip
  double initializer_range = 0.02;
  std::string dtype = "float32";  // type of the stored weights

  int64_t rotary_dim() const { return static_cast<int64_t>(static_cast<double>(head_dim) * partial_rotary_factor); }

  // Throws ErrorKind::checkpoint naming file and field when one is missing, inconsistent or of an unknown architecture.
  static ArConfig from_json(const JsonObject& config);
  // The file as the reference writes it, without vision_config and with `num_embeddings` alone in vq_config: merge the
  // visual tokenizer's part into it (json::merge_patch).
  nlohmann::json to_json() const;
};

// generation_config.json: how the ids are drawn.
struct GenerationConfig {
  double temperature = 0.9;
  double top_p = 0.75;
  int64_t top_k = 0;                 // 0: none
  int64_t eos_id = -1, pad_id = -1;  // for the round trip only; -1: not named

  // A field missing from a file that exists takes the value the reference gives it (temperature 1, top_p 1, top_k 50).
  static GenerationConfig from_json(const JsonObject& config);
  // Reads `folder`/generation_config.json; without that file: the published values above (not the reference's fallback,
  // with which pictures degenerate).
  static GenerationConfig open(const std::filesystem::path& folder);
  nlohmann::json to_json() const;
};

}  // namespace glmimage
