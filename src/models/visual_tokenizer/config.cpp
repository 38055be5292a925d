#include "models/visual_tokenizer/config.h"

#include <string>

#include "core/error.h"

namespace glmimage {
namespace {

void require_text(const JsonObject& object, const std::string& field, const std::string& wanted) {
  const std::string found = object.text_or(field, wanted);
  if (found != wanted) object.reject(field, concat("is '", found, "'; only '", wanted, "' is supported"));
}

void require_one(const JsonObject& object, const std::string& field, int64_t value) {
  if (value != 1) object.reject(field, concat("is ", value, "; only 1 is supported"));
}

double positive_number(const JsonObject& object, const std::string& field, double value) {
  if (!(value > 0) || !std::isfinite(value)) object.reject(field, concat("should be a positive number, not ", value));
  return value;
}

std::array<double, 3> three_numbers(const JsonObject& json, const std::string& field) {
  const std::vector<double> values = json.numbers(field);
  if (values.size() != 3) json.reject(field, concat("should have 3 numbers, one per channel, not ", values.size()));
  return {values[0], values[1], values[2]};
}

// The limits of the picture's size: "min_pixels" and "max_pixels", or the same numbers under "size".
void read_limits(const JsonObject& json, PreprocessConfig& c) {
  if (json.has("min_pixels") || json.has("max_pixels") || !json.has("size")) {
    c.min_pixels = json.positive("min_pixels");
    c.max_pixels = json.positive("max_pixels");
  } else {
    const JsonObject size = json.object("size");
    c.min_pixels = size.positive("shortest_edge");
    c.max_pixels = size.positive("longest_edge");
  }
  if (c.min_pixels > c.max_pixels) {
    json.reject("min_pixels", concat("is ", c.min_pixels, ", more than max_pixels ", c.max_pixels));
  }
}

// PIL.Image.Resampling.
constexpr int64_t kPillowLanczos = 1, kPillowBicubic = 3;

Filter read_filter(const JsonObject& json) {
  const int64_t resample = json.integer("resample");
  if (resample == kPillowBicubic) return Filter::bicubic;
  if (resample == kPillowLanczos) return Filter::lanczos;
  json.reject("resample", concat("is ", resample, "; only 3 (bicubic) and 1 (Lanczos) are supported"));
}

}  // namespace

VisionConfig VisionConfig::from_json(const JsonObject& json) {
  require_text(json, "model_type", "glm_image_vision");
  require_text(json, "hidden_act", "gelu");
  require_one(json, "spatial_merge_size", json.integer_or("spatial_merge_size", 1));
  VisionConfig c;
  c.depth = json.layers("depth");
  c.hidden_size = json.positive("hidden_size");
  c.heads = json.positive("num_heads");
  c.intermediate_size = json.positive("intermediate_size");
  c.patch_size = json.positive("patch_size");
  c.image_size = json.positive("image_size");
  c.layer_norm_eps = positive_number(json, "layer_norm_eps", json.number_or("layer_norm_eps", c.layer_norm_eps));
  c.attention_bias = json.boolean_or("attention_bias", true);
  c.initializer_range = json.number_or("initializer_range", c.initializer_range);
  const int64_t channels = json.integer_or("in_channels", kChannels);
  if (channels != kChannels) json.reject("in_channels", concat("is ", channels, "; only RGB (3) is supported"));
  if (c.hidden_size % c.heads != 0) {
    json.reject("num_heads", concat("is ", c.heads, " and does not divide hidden_size ", c.hidden_size));
  }
  if (c.table_side() < 1)
    json.reject("image_size", concat("is ", c.image_size, ", less than patch_size ", c.patch_size));
  return c;
}

nlohmann::json VisionConfig::to_json() const {
  return {
      {"attention_bias", attention_bias},
      {"attention_dropout", 0.0},
      {"depth", depth},
      {"hidden_act", "gelu"},
      {"hidden_size", hidden_size},
      {"image_size", image_size},
      {"in_channels", kChannels},
      {"initializer_range", initializer_range},
      {"intermediate_size", intermediate_size},
      {"layer_norm_eps", layer_norm_eps},
      {"model_type", "glm_image_vision"},
      {"num_heads", heads},
      {"patch_size", patch_size},
      {"spatial_merge_size", 1},
  };
}

VqConfig VqConfig::from_json(const JsonObject& json) {
  require_text(json, "model_type", "glm_image_vqmodel");
  VqConfig c;
  c.codes = json.positive("num_embeddings");
  c.embed_dim = json.positive("embed_dim");
  c.latent_channels = json.positive("latent_channels");
  c.initializer_range = json.number_or("initializer_range", c.initializer_range);
  return c;
}

nlohmann::json VqConfig::to_json() const {
  return {
      {"embed_dim", embed_dim},
      {"in_channels", VisionConfig::kChannels},
      {"initializer_range", initializer_range},
      {"latent_channels", latent_channels},
      {"model_type", "glm_image_vqmodel"},
      {"num_embeddings", codes},
  };
}

VisualTokenizerConfig VisualTokenizerConfig::from_json(const JsonObject& config) {
  require_text(config, "model_type", "glm_image");
  VisualTokenizerConfig c;
  c.vision = VisionConfig::from_json(config.object("vision_config"));
  const JsonObject vq = config.object("vq_config");
  c.vq = VqConfig::from_json(vq);
  if (c.vq.latent_channels != c.vision.hidden_size) {
    vq.reject("latent_channels",
              concat("is ", c.vq.latent_channels, ", but vision_config.hidden_size is ", c.vision.hidden_size));
  }
  return c;
}

nlohmann::json VisualTokenizerConfig::to_json() const {
  return {{"vision_config", vision.to_json()}, {"vq_config", vq.to_json()}};
}

PreprocessConfig PreprocessConfig::from_json(const JsonObject& json) {
  const std::string kind = json.text_or("image_processor_type", "GlmImageImageProcessor");
  if (kind.rfind("GlmImage", 0) != 0) {
    json.reject("image_processor_type", concat("is '", kind, "', expected 'GlmImageImageProcessor'"));
  }
  for (const char* step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"}) {
    if (!json.boolean_or(step, true)) json.reject(step, "is false; only true is supported");
  }
  require_one(json, "merge_size", json.integer("merge_size"));
  require_one(json, "temporal_patch_size", json.integer("temporal_patch_size"));
  PreprocessConfig c;
  read_limits(json, c);
  c.patch_size = json.positive("patch_size");
  c.resample = read_filter(json);
  c.rescale_factor = positive_number(json, "rescale_factor", json.number_or("rescale_factor", c.rescale_factor));
  c.image_mean = three_numbers(json, "image_mean");
  c.image_std = three_numbers(json, "image_std");
  for (double std : c.image_std) positive_number(json, "image_std", std);
  return c;
}

PreprocessConfig PreprocessConfig::open(const std::filesystem::path& processor_folder) {
  return from_json(JsonObject::open(processor_folder / "preprocessor_config.json"));
}

nlohmann::json PreprocessConfig::to_json() const {
  return {
      {"do_convert_rgb", true},
      {"do_normalize", true},
      {"do_rescale", true},
      {"do_resize", true},
      {"image_mean", image_mean},
      {"image_processor_type", "GlmImageImageProcessor"},
      {"image_std", image_std},
      {"max_pixels", max_pixels},
      {"merge_size", 1},
      {"min_pixels", min_pixels},
      {"patch_size", patch_size},
      {"processor_class", "GlmImageProcessor"},
      {"resample", resample == Filter::bicubic ? kPillowBicubic : kPillowLanczos},
      {"rescale_factor", rescale_factor},
      {"temporal_patch_size", 1},
  };
}

}  // namespace glmimage
