#include "models/dit/config.h"

#include "core/error.h"

namespace glmimage {

DitConfig DitConfig::from_json(const JsonObject& json) {
  const std::string kind = json.text("_class_name");
  if (kind != "GlmImageTransformer2DModel") {
    json.reject("_class_name",
                concat("is '", kind, "', expected 'GlmImageTransformer2DModel': not a GLM-Image transformer"));
  }
  DitConfig c;
  c.heads = json.positive("num_attention_heads");
  c.head_dim = json.positive("attention_head_dim");
  c.layers = json.layers("num_layers");
  c.patch_size = json.positive("patch_size");
  c.in_channels = json.positive("in_channels");
  c.out_channels = json.positive("out_channels");
  c.text_dim = json.positive("text_embed_dim");
  c.time_dim = json.positive("time_embed_dim");
  c.condition_dim = json.positive("condition_dim");
  c.codes = json.positive("prior_vq_quantizer_codebook_size");
  // The rope splits a head into two axes of cosine/sine pairs; the sinusoids of the conditioning come in pairs.
  if (c.head_dim % 4 != 0) json.reject("attention_head_dim", concat("should be a multiple of 4, not ", c.head_dim));
  if (c.time_dim % 2 != 0) json.reject("time_embed_dim", concat("should be even, not ", c.time_dim));
  if (c.condition_dim % 2 != 0) json.reject("condition_dim", concat("should be even, not ", c.condition_dim));
  return c;
}

nlohmann::json DitConfig::to_json() const {
  return {
      {"_class_name", "GlmImageTransformer2DModel"},
      {"_diffusers_version", "0.39.0"},
      {"attention_head_dim", head_dim},
      {"condition_dim", condition_dim},
      {"in_channels", in_channels},
      {"num_attention_heads", heads},
      {"num_layers", layers},
      {"out_channels", out_channels},
      {"patch_size", patch_size},
      {"prior_vq_quantizer_codebook_size", codes},
      {"text_embed_dim", text_dim},
      {"time_embed_dim", time_dim},
  };
}

}  // namespace glmimage
