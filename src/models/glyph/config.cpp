#include "models/glyph/config.h"

#include "core/error.h"

namespace glmimage {

GlyphConfig GlyphConfig::from_json(const JsonObject& json) {
  const std::string kind = json.text("model_type");
  if (kind != "t5") json.reject("model_type", concat("is '", kind, "', expected 't5': not a ByT5 text encoder"));
  const std::string act = json.text("feed_forward_proj");
  if (act != "gated-gelu") json.reject("feed_forward_proj", concat("is '", act, "'; only 'gated-gelu' is supported"));
  GlyphConfig c;
  c.vocab_size = json.positive("vocab_size");
  c.width = json.positive("d_model");
  c.head_dim = json.positive("d_kv");
  c.heads = json.positive("num_heads");
  c.feed_forward = json.positive("d_ff");
  c.layers = json.layers("num_layers");
  c.buckets = json.positive("relative_attention_num_buckets");
  // Files older than this field mean the constant T5 had then.
  c.max_distance = json.has("relative_attention_max_distance") ? json.positive("relative_attention_max_distance") : 128;
  c.eps = json.number("layer_norm_epsilon");
  if (c.buckets % 4 != 0)
    json.reject("relative_attention_num_buckets", concat("should be a multiple of 4, not ", c.buckets));
  if (c.max_distance <= c.buckets / 4) {
    json.reject("relative_attention_max_distance",
                concat("should be more than ", c.buckets / 4, ", not ", c.max_distance));
  }
  return c;
}

nlohmann::json GlyphConfig::to_json() const {
  return {
      {"architectures", {"T5EncoderModel"}},
      {"d_ff", feed_forward},
      {"d_kv", head_dim},
      {"d_model", width},
      {"decoder_start_token_id", 0},
      {"dense_act_fn", "gelu_new"},
      {"dropout_rate", 0.1},
      {"eos_token_id", 1},
      {"feed_forward_proj", "gated-gelu"},
      {"is_encoder_decoder", false},
      {"is_gated_act", true},
      {"layer_norm_epsilon", eps},
      {"model_type", "t5"},
      {"num_heads", heads},
      {"num_layers", layers},
      {"pad_token_id", 0},
      {"relative_attention_max_distance", max_distance},
      {"relative_attention_num_buckets", buckets},
      {"tie_word_embeddings", true},
      {"use_cache", false},
      {"vocab_size", vocab_size},
  };
}

}  // namespace glmimage
