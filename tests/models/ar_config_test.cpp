#include "models/ar/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <string>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

json published() {
  return json::parse(R"({
    "architectures": ["GlmImageForConditionalGeneration"], "dtype": "bfloat16", "model_type": "glm_image",
    "image_start_token_id": 16384, "image_end_token_id": 16385, "image_token_id": 167855, "tie_word_embeddings": false,
    "text_config": {
      "hidden_size": 4096, "num_hidden_layers": 40, "intermediate_size": 13696, "num_attention_heads": 32,
      "num_key_value_heads": 2, "vocab_size": 168064, "vision_vocab_size": 16512, "rms_norm_eps": 1e-05,
      "hidden_act": "silu", "max_position_embeddings": 131072, "eos_token_id": 16385, "pad_token_id": 167841,
      "rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.5,
                          "mrope_section": [8, 12, 12], "rope_type": "default"}
    },
    "vision_config": {}, "vq_config": {"num_embeddings": 16384}})");
}

ArConfig parse(const json& value) { return ArConfig::from_json(JsonObject("config.json", "", value)); }

std::string refusal(const std::function<void(json&)>& change) {
  json value = published();
  change(value);
  try {
    parse(value);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    return e.what();
  }
  return "accepted";
}

TEST(ArConfig, Published) {
  const ArConfig c = parse(published());
  EXPECT_EQ(c.vocab_size, 168064);
  EXPECT_EQ(c.visual_vocab_size, 16512);
  EXPECT_EQ(c.codebook_size, 16384);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.rotary_dim(), 64);
  EXPECT_TRUE(c.attention_bias);
  EXPECT_EQ(c.begin_image_id, 16384);
  EXPECT_EQ(c.end_image_id, 16385);
  EXPECT_EQ(c.dtype, "bfloat16");
}

TEST(ArConfig, RoundTripsThroughTheFile) {
  for (const std::string name : {"tiny_a", "tiny_b", "tiny_c"}) {
    const JsonObject file = JsonObject::open(test::golden(name + "/checkpoint/vision_language_encoder/config.json"));
    const json written = ArConfig::from_json(file).to_json();
    json merged = file.value();
    merged.merge_patch(written);
    EXPECT_EQ(merged, file.value()) << name << ": writes a field the reference does not, or another value";
    for (const auto& [field, value] : file.value().at("text_config").items()) {
      EXPECT_TRUE(written.at("text_config").contains(field)) << field;
    }
    EXPECT_EQ(ArConfig::from_json(JsonObject("again", "", written)).to_json(), written);
  }
}

TEST(ArConfig, RefusesToGuess) {
  for (const std::string field : {"hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads",
                                  "vocab_size", "vision_vocab_size", "rope_parameters"}) {
    EXPECT_THAT(refusal([&](json& v) { v["text_config"].erase(field); }),
                AllOf(HasSubstr("config.json"), HasSubstr("text_config." + field), HasSubstr("is missing")));
  }
  for (const std::string field : {"rope_theta", "partial_rotary_factor", "mrope_section"}) {
    EXPECT_THAT(refusal([&](json& v) { v["text_config"]["rope_parameters"].erase(field); }),
                HasSubstr("text_config.rope_parameters." + field));
  }
  for (const std::string field :
       {"image_start_token_id", "image_end_token_id", "image_token_id", "text_config", "vq_config"}) {
    EXPECT_THAT(refusal([&](json& v) { v.erase(field); }), HasSubstr(field));
  }
}

TEST(ArConfig, RefusesOtherArchitectures) {
  EXPECT_THAT(refusal([](json& v) { v["model_type"] = "llama"; }), HasSubstr("'llama'"));
  EXPECT_THAT(refusal([](json& v) { v["text_config"]["hidden_act"] = "gelu"; }), HasSubstr("'gelu'"));
  EXPECT_THAT(refusal([](json& v) { v["text_config"]["rope_parameters"]["rope_type"] = "yarn"; }), HasSubstr("'yarn'"));
  EXPECT_THAT(refusal([](json& v) { v["tie_word_embeddings"] = true; }), HasSubstr("tie_word_embeddings"));
}

TEST(ArConfig, RefusesNumbersThatDoNotFitTogether) {
  EXPECT_THAT(refusal([](json& v) { v["text_config"]["num_attention_heads"] = 3; }),
              HasSubstr("does not divide hidden_size"));
  EXPECT_THAT(refusal([](json& v) { v["text_config"]["num_key_value_heads"] = 5; }),
              HasSubstr("does not divide num_attention"));
  EXPECT_THAT(refusal([](json& v) { v["text_config"]["vision_vocab_size"] = 168065; }),
              HasSubstr("more than vocab_size"));
  EXPECT_THAT(refusal([](json& v) { v["vq_config"]["num_embeddings"] = 16513; }),
              HasSubstr("more than vision_vocab_size"));
  EXPECT_THAT(refusal([](json& v) { v["image_token_id"] = 168064; }), HasSubstr("0 … 168063"));
  auto rope = [](const std::string& field, const json& value) {
    return refusal([&](json& v) { v["text_config"]["rope_parameters"][field] = value; });
  };
  EXPECT_THAT(rope("mrope_section", {8, 12, 13}), HasSubstr("sums to 33"));
  EXPECT_THAT(rope("mrope_section", {-8, 28, 12}), HasSubstr("mrope_section"));
  EXPECT_THAT(rope("partial_rotary_factor", 1.0), HasSubstr("mrope_section"));
  EXPECT_THAT(rope("partial_rotary_factor", 1.5), HasSubstr("at most 1"));
  EXPECT_THAT(rope("partial_rotary_factor", 0.51), HasSubstr("even number"));
  EXPECT_THAT(rope("rope_theta", -1), HasSubstr("positive"));
}

TEST(GenerationConfig, FromFileAndWithoutOne) {
  const GenerationConfig stored = GenerationConfig::open(test::golden("tiny_b/checkpoint/vision_language_encoder"));
  EXPECT_DOUBLE_EQ(stored.temperature, 1.1);
  EXPECT_DOUBLE_EQ(stored.top_p, 0.9);
  EXPECT_EQ(stored.top_k, 64);
  EXPECT_EQ(stored.eos_id, 49);
  EXPECT_EQ(GenerationConfig::from_json(JsonObject("again", "", stored.to_json())).to_json(), stored.to_json());

  const auto folder = test::scratch_folder();
  const GenerationConfig absent = GenerationConfig::open(folder);
  EXPECT_DOUBLE_EQ(absent.temperature, 0.9);
  EXPECT_DOUBLE_EQ(absent.top_p, 0.75);
  EXPECT_EQ(absent.top_k, 0);

  std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": [3, 4], "top_p": 1.2})";
  EXPECT_THROW(GenerationConfig::open(folder), Error);
  std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": [3, 4]})";
  const GenerationConfig partial = GenerationConfig::open(folder);
  EXPECT_DOUBLE_EQ(partial.temperature, 1.0);
  EXPECT_DOUBLE_EQ(partial.top_p, 1.0);
  EXPECT_EQ(partial.top_k, 50);
  EXPECT_EQ(partial.eos_id, 3);
}

}  // namespace
}  // namespace glmimage
