#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/resize.h"

namespace glmimage {

// "vision_config" of vision_language_encoder/config.json.
struct VisionConfig {
  int64_t depth = 0, hidden_size = 0, heads = 0, intermediate_size = 0;  // 40, 1536, 16, 6144
  int64_t patch_size = 16;  // pixels a side, of the reduced picture the tower sees
  int64_t image_size = 0;   // pixels a side that the position table stands for, 2048
  double layer_norm_eps = 1e-6;
  bool attention_bias = true;
  double initializer_range = 0.02;

  static constexpr int64_t kChannels = 3;
  int64_t table_side() const { return image_size / patch_size; }                // the table has table_side()² rows
  int64_t patch_values() const { return kChannels * patch_size * patch_size; }  // numbers per patch, 768

  // All sizes are required; other activations and merging patches are refused by name. Throws ErrorKind::checkpoint.
  static VisionConfig from_json(const JsonObject& vision_config);
  nlohmann::json to_json() const;
};

// "vq_config" of vision_language_encoder/config.json.
struct VqConfig {
  int64_t codes = 0;            // num_embeddings, 16384
  int64_t embed_dim = 0;        // numbers per code, 2048
  int64_t latent_channels = 0;  // the tower's width
  double initializer_range = 0.02;

  static VqConfig from_json(const JsonObject& vq_config);
  nlohmann::json to_json() const;
};

// The two together, from the whole of vision_language_encoder/config.json.
struct VisualTokenizerConfig {
  VisionConfig vision;
  VqConfig vq;

  // Throws ErrorKind::checkpoint, also when the widths of the two parts disagree.
  static VisualTokenizerConfig from_json(const JsonObject& config);
  nlohmann::json to_json() const;  // {"vision_config", "vq_config"}, to be merged into the file
};

// processor/preprocessor_config.json: how a picture is brought to the tower's size and range.
struct PreprocessConfig {
  int64_t min_pixels = 0, max_pixels = 0;  // 512², 2048²: of the picture, the tower sees half of each side
  int64_t patch_size = 16;
  Filter resample = Filter::bicubic;
  double rescale_factor = 1.0 / 255.0;
  std::array<double, 3> image_mean = {0.5, 0.5, 0.5}, image_std = {0.5, 0.5, 0.5};

  int64_t min_side() const { return std::lrint(std::sqrt(static_cast<double>(min_pixels))); }
  int64_t max_side() const { return std::lrint(std::sqrt(static_cast<double>(max_pixels))); }

  // Sizes, mean and standard deviation are required: the class defaults of the reference are another model. Steps that
  // are switched off, merged or temporal patches and other filters are refused. Throws ErrorKind::checkpoint.
  static PreprocessConfig from_json(const JsonObject& json);
  static PreprocessConfig open(const std::filesystem::path& processor_folder);
  nlohmann::json to_json() const;  // the published file
};

}  // namespace glmimage
