#include "models/vae/config.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace glmimage {
namespace {

constexpr const char* kClass = "AutoencoderKL";
constexpr const char* kDownBlock = "DownEncoderBlock2D";
constexpr const char* kUpBlock = "UpDecoderBlock2D";

// The list `field` must hold `type` once per block.
void require_blocks(const JsonObject& json, const std::string& field, const std::string& type, size_t count) {
  if (!json.has(field)) json.reject(field, "is missing");
  const nlohmann::json& list = json.value().at(field);
  if (!list.is_array()) json.reject(field, "should be a list of block types");
  for (const nlohmann::json& item : list) {
    if (item != type) json.reject(field, concat("names the block ", item.dump(), "; only \"", type, "\" is supported"));
  }
  if (list.size() != count) {
    json.reject(field, concat("names ", list.size(), " blocks, but block_out_channels has ", count));
  }
}

void require_picture_channels(const JsonObject& json, const std::string& field) {
  const int64_t channels = json.positive(field);
  if (channels != VaeConfig::kPictureChannels)
    json.reject(field, concat("is ", channels, "; only RGB (3) is supported"));
}

std::vector<double> per_channel(const JsonObject& json, const std::string& field, int64_t channels) {
  std::vector<double> values = json.numbers(field);
  if (static_cast<int64_t>(values.size()) != channels) {
    json.reject(field, concat("has ", values.size(), " numbers, but latent_channels is ", channels));
  }
  return values;
}

}  // namespace

VaeConfig VaeConfig::from_json(const JsonObject& json) {
  const std::string kind = json.text("_class_name");
  if (kind != kClass)
    json.reject("_class_name", concat("is '", kind, "', expected '", kClass, "': not a GLM-Image VAE"));
  VaeConfig c;
  c.widths = json.integers("block_out_channels");
  c.layers_per_block = json.layers("layers_per_block");
  c.latent_channels = json.positive("latent_channels");
  c.norm_groups = json.positive("norm_num_groups");
  c.sample_size = json.positive("sample_size");
  c.mid_block_attention = json.boolean("mid_block_add_attention");
  c.use_quant_conv = json.boolean("use_quant_conv");
  c.use_post_quant_conv = json.boolean("use_post_quant_conv");
  c.latents_mean = per_channel(json, "latents_mean", c.latent_channels);
  c.latents_std = per_channel(json, "latents_std", c.latent_channels);
  c.scaling_factor = json.number_or("scaling_factor", c.scaling_factor);
  if (json.has("shift_factor")) c.shift_factor = json.number("shift_factor");
  c.force_upcast = json.boolean_or("force_upcast", true);

  if (c.widths.empty() || c.widths.size() > 8) json.reject("block_out_channels", "should have between 1 and 8 widths");
  for (int64_t width : c.widths) {
    if (width <= 0 || width > (int64_t{1} << 20) || width % c.norm_groups != 0) {
      json.reject("block_out_channels",
                  concat("has the width ", width, ", not a multiple of norm_num_groups ", c.norm_groups));
    }
  }
  for (double std : c.latents_std) {
    if (!(std > 0) || !std::isfinite(std))
      json.reject("latents_std", concat("has ", std, "; every entry should be above zero"));
  }
  require_blocks(json, "down_block_types", kDownBlock, c.widths.size());
  require_blocks(json, "up_block_types", kUpBlock, c.widths.size());
  require_picture_channels(json, "in_channels");
  require_picture_channels(json, "out_channels");
  const std::string activation = json.text("act_fn");
  if (activation != "silu" && activation != "swish") {
    json.reject("act_fn", concat("is '", activation, "'; only 'silu' is supported"));
  }
  return c;
}

nlohmann::json VaeConfig::to_json() const {
  return {
      {"_class_name", kClass},
      {"_diffusers_version", "0.39.0"},
      {"act_fn", "silu"},
      {"block_out_channels", widths},
      {"down_block_types", std::vector<std::string>(widths.size(), kDownBlock)},
      {"force_upcast", force_upcast},
      {"in_channels", kPictureChannels},
      {"latent_channels", latent_channels},
      {"latents_mean", latents_mean},
      {"latents_std", latents_std},
      {"layers_per_block", layers_per_block},
      {"mid_block_add_attention", mid_block_attention},
      {"norm_num_groups", norm_groups},
      {"out_channels", kPictureChannels},
      {"sample_size", sample_size},
      {"scaling_factor", scaling_factor},
      {"shift_factor", shift_factor ? nlohmann::json(*shift_factor) : nlohmann::json()},
      {"up_block_types", std::vector<std::string>(widths.size(), kUpBlock)},
      {"use_post_quant_conv", use_post_quant_conv},
      {"use_quant_conv", use_quant_conv},
  };
}

}  // namespace glmimage
