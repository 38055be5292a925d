#include "pipeline/condition.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <string>

#include "core/json.h"
#include "core/safetensors.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using test::golden;
using test::relative_error;

class Condition : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Goldens, Condition, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(Condition, GlyphsOfEveryPromptEqualTheReference) {
  const std::string name = GetParam();
  const GlyphEncoder encoder = GlyphEncoder::open(golden(name + "/checkpoint/text_encoder"), {.dtype = at::kFloat});
  const ByteTokenizer tokenizer = ByteTokenizer::open(golden(name + "/checkpoint/tokenizer"));
  const nlohmann::json cases = JsonObject::open(golden(name + "/manifest.json")).value().at("cases");
  for (const auto& entry : cases) {
    const auto trace = SafetensorsFile::open(golden(name + "/" + entry.at("file").get<std::string>()));
    const std::string prompt = entry.at("prompt");
    const at::Tensor glyphs = encode_glyphs(encoder, tokenizer, prompt, entry.at("max_sequence_length"));
    EXPECT_LT(relative_error(glyphs, trace.tensor("glyph.embeds")), 1e-4) << entry.at("name");
    if (trace.find("glyph.negative_embeds")) {
      EXPECT_LT(relative_error(encode_glyphs(encoder, tokenizer, ""), trace.tensor("glyph.negative_embeds")), 1e-4);
    }
  }
}

TEST_P(Condition, LongStringsAreCut) {
  const std::string name = GetParam();
  const GlyphEncoder encoder = GlyphEncoder::open(golden(name + "/checkpoint/text_encoder"), {.dtype = at::kFloat});
  const ByteTokenizer tokenizer = ByteTokenizer::open(golden(name + "/checkpoint/tokenizer"));
  const std::string text(3000, 'x');
  EXPECT_EQ(encode_glyphs(encoder, tokenizer, "\"" + text + "\"").size(1), kMaxGlyphIds);
  EXPECT_EQ(encode_glyphs(encoder, tokenizer, "\"" + text + "\"", 8).size(1), 8);
  EXPECT_TRUE(at::equal(encode_glyphs(encoder, tokenizer, "no quotes"), encode_glyphs(encoder, tokenizer, "")));
}

}  // namespace
}  // namespace glmimage
