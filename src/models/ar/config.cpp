#include "models/ar/config.h"

#include <numeric>

#include "core/error.h"

namespace glmimage {

using nlohmann::json;

namespace {

void require_text(const JsonObject& object, const std::string& field, const std::string& wanted) {
  const std::string found = object.text_or(field, wanted);
  if (found != wanted) object.reject(field, concat("is '", found, "'; only '", wanted, "' is supported"));
}

// An id field that must lie in [0, limit).
int64_t id_below(const JsonObject& object, const std::string& field, int64_t limit) {
  const int64_t id = object.integer(field);
  if (id < 0 || id >= limit) object.reject(field, concat("is ", id, ", expected an id in 0 … ", limit - 1));
  return id;
}

// `eos_token_id` may be one id or a list of them.
int64_t first_id(const JsonObject& object, const std::string& field, int64_t fallback) {
  if (!object.has(field)) return fallback;
  if (!object.value().at(field).is_array()) return object.integer(field);
  const std::vector<int64_t> ids = object.integers(field);
  return ids.empty() ? fallback : ids.front();
}

void read_sizes(const JsonObject& text, ArConfig& c) {
  c.vocab_size = text.positive("vocab_size");
  c.visual_vocab_size = text.positive("vision_vocab_size");
  c.hidden_size = text.positive("hidden_size");
  c.layers = text.layers("num_hidden_layers");
  c.intermediate_size = text.positive("intermediate_size");
  c.heads = text.positive("num_attention_heads");
  c.kv_heads = text.has("num_key_value_heads") ? text.positive("num_key_value_heads") : c.heads;
  if (text.has("head_dim")) {
    c.head_dim = text.positive("head_dim");
  } else if (c.hidden_size % c.heads != 0) {
    text.reject("num_attention_heads", concat("is ", c.heads, " and does not divide hidden_size ", c.hidden_size));
  } else {
    c.head_dim = c.hidden_size / c.heads;
  }
  if (c.heads % c.kv_heads != 0) {
    text.reject("num_key_value_heads", concat("is ", c.kv_heads, " and does not divide num_attention_heads ", c.heads));
  }
  if (c.visual_vocab_size > c.vocab_size) {
    text.reject("vision_vocab_size", concat("is ", c.visual_vocab_size, ", more than vocab_size ", c.vocab_size));
  }
}

void read_rope(const JsonObject& rope, ArConfig& c) {
  require_text(rope, "rope_type", "default");
  c.rope_theta = rope.number("rope_theta");
  if (!(c.rope_theta > 0)) rope.reject("rope_theta", concat("should be positive, not ", c.rope_theta));
  c.partial_rotary_factor = rope.number("partial_rotary_factor");
  if (!(c.partial_rotary_factor > 0 && c.partial_rotary_factor <= 1)) {
    rope.reject("partial_rotary_factor", concat("should be above 0 and at most 1, not ", c.partial_rotary_factor));
  }
  const int64_t rotary = c.rotary_dim();
  if (rotary == 0 || rotary % 2 != 0) {
    rope.reject("partial_rotary_factor",
                concat("turns ", rotary, " of ", c.head_dim, " dimensions; expected an even number"));
  }
  c.mrope_section = rope.integers("mrope_section");
  bool negative = false;
  for (int64_t section : c.mrope_section) negative = negative || section < 0;
  const int64_t sum = std::accumulate(c.mrope_section.begin(), c.mrope_section.end(), int64_t{0});
  if (negative || sum != rotary / 2) {
    rope.reject("mrope_section", concat("should sum to half of the ", rotary, " rotary dimensions, but sums to ", sum));
  }
}

}  // namespace

ArConfig ArConfig::from_json(const JsonObject& config) {
  require_text(config, "model_type", "glm_image");
  if (config.boolean_or("tie_word_embeddings", false)) {
    config.reject("tie_word_embeddings", "is true; lm_head must be a tensor of its own");
  }
  const JsonObject text = config.object("text_config");
  require_text(text, "model_type", "glm_image_text");
  require_text(text, "hidden_act", "silu");
  ArConfig c;
  read_sizes(text, c);
  read_rope(text.object("rope_parameters"), c);
  c.attention_bias = text.boolean_or("attention_bias", true);
  c.rms_norm_eps = text.number_or("rms_norm_eps", c.rms_norm_eps);
  c.initializer_range = text.number_or("initializer_range", c.initializer_range);
  c.max_positions = text.integer_or("max_position_embeddings", c.max_positions);

  const JsonObject vq = config.object("vq_config");
  c.codebook_size = vq.positive("num_embeddings");
  if (c.codebook_size > c.visual_vocab_size) {
    vq.reject("num_embeddings", concat("is ", c.codebook_size, ", more than vision_vocab_size ", c.visual_vocab_size));
  }
  c.begin_image_id = id_below(config, "image_start_token_id", c.vocab_size);
  c.end_image_id = id_below(config, "image_end_token_id", c.vocab_size);
  c.image_placeholder_id = id_below(config, "image_token_id", c.vocab_size);
  if (c.begin_image_id == c.end_image_id) config.reject("image_end_token_id", "equals image_start_token_id");
  c.eos_id = first_id(text, "eos_token_id", c.end_image_id);
  c.pad_id = text.integer_or("pad_token_id", c.end_image_id);
  if (config.has("draft_size")) c.draft_size = config.positive("draft_size");
  c.dtype = config.text_or("dtype", config.text_or("torch_dtype", c.dtype));
  return c;
}

json ArConfig::to_json() const {
  json text = {
      {"model_type", "glm_image_text"},
      {"vocab_size", vocab_size},
      {"vision_vocab_size", visual_vocab_size},
      {"hidden_size", hidden_size},
      {"num_hidden_layers", layers},
      {"intermediate_size", intermediate_size},
      {"num_attention_heads", heads},
      {"num_key_value_heads", kv_heads},
      {"attention_bias", attention_bias},
      {"attention_dropout", 0.0},
      {"hidden_act", "silu"},
      {"rms_norm_eps", rms_norm_eps},
      {"initializer_range", initializer_range},
      {"max_position_embeddings", max_positions},
      {"eos_token_id", eos_id},
      {"pad_token_id", pad_id},
      {"use_cache", true},
      {"rope_parameters",
       {{"rope_type", "default"},
        {"rope_theta", rope_theta},
        {"partial_rotary_factor", partial_rotary_factor},
        {"mrope_section", mrope_section}}},
  };
  if (head_dim * heads != hidden_size) text["head_dim"] = head_dim;
  json out = {
      {"architectures", json::array({"GlmImageForConditionalGeneration"})},
      {"model_type", "glm_image"},
      {"dtype", dtype},
      {"tie_word_embeddings", false},
      {"image_start_token_id", begin_image_id},
      {"image_end_token_id", end_image_id},
      {"image_token_id", image_placeholder_id},
      {"text_config", std::move(text)},
      {"vq_config", {{"model_type", "glm_image_vqmodel"}, {"num_embeddings", codebook_size}}},
  };
  if (draft_size != 16) out["draft_size"] = draft_size;  // 16 is built into the published processor
  return out;
}

GenerationConfig GenerationConfig::from_json(const JsonObject& config) {
  GenerationConfig c;
  c.temperature = config.number_or("temperature", 1.0);
  if (!(c.temperature > 0)) config.reject("temperature", concat("should be positive, not ", c.temperature));
  c.top_p = config.number_or("top_p", 1.0);
  if (!(c.top_p >= 0 && c.top_p <= 1)) config.reject("top_p", concat("should lie in 0 … 1, not ", c.top_p));
  c.top_k = config.integer_or("top_k", 50);
  if (c.top_k < 0) config.reject("top_k", concat("should not be negative, but is ", c.top_k));
  c.eos_id = first_id(config, "eos_token_id", -1);
  c.pad_id = config.integer_or("pad_token_id", -1);
  return c;
}

GenerationConfig GenerationConfig::open(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "generation_config.json";
  return std::filesystem::exists(file) ? from_json(JsonObject::open(file)) : GenerationConfig{};
}

json GenerationConfig::to_json() const {
  json out = {{"do_sample", true}, {"temperature", temperature}, {"top_p", top_p}, {"top_k", top_k}};
  if (eos_id >= 0) out["eos_token_id"] = eos_id;
  if (pad_id >= 0) out["pad_token_id"] = pad_id;
  return out;
}

}  // namespace glmimage
