#include "text/byte_tokenizer.h"

#include "text/glyph_text.h"
#include "text/text_test_helpers.h"

namespace glmimage {
namespace {

using Ids = std::vector<int64_t>;
using nlohmann::json;
using test::expect_error;
using test::golden;

TEST(ByteTokenizer, EqualsTheReference) {
  const ByteTokenizer built_in;
  const ByteTokenizer loaded = ByteTokenizer::open(golden("tiny_a/checkpoint/tokenizer"));
  const json cases = test::read_json(golden("byte_cases.json"));
  ASSERT_GT(cases.size(), 20u);
  for (const json& c : cases) {
    const std::string text = c["text"];
    EXPECT_EQ(built_in.encode(text), c["ids"].get<Ids>()) << text;
    EXPECT_EQ(loaded.encode(text), c["ids"].get<Ids>()) << text;
  }
}

TEST(ByteTokenizer, ParsesItsSpecialTokens) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.encode("a </s> b"), (Ids{100, 1, 101, 1}));
  EXPECT_EQ(tokenizer.encode("a \x1c\u3000<pad>\n\x1f b"), (Ids{100, 0, 101, 1}));
  EXPECT_EQ(tokenizer.encode("a <extra_id_1> b"), (Ids{100, 35, 260, 35, 101, 1}));
  EXPECT_EQ(tokenizer.encode("<extra_id_125>").size(), 15u);
  EXPECT_EQ(tokenizer.encode("x</s>"), (Ids{123, 1}));
  EXPECT_EQ(tokenizer.encode("</s>", 2048, SpecialTokens::as_text), (Ids{63, 50, 118, 65, 1}));
}

TEST(ByteTokenizer, Truncates) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.encode(std::string(5000, 'a')).size(), 2048u);
  EXPECT_EQ(tokenizer.encode(std::string(2047, 'a')).size(), 2048u);
  EXPECT_EQ(tokenizer.encode("abcdef", 3), (Ids{100, 101, 1}));
  EXPECT_EQ(tokenizer.encode("ab</s>", 3), (Ids{100, 101, 1}));
  EXPECT_EQ(tokenizer.encode("abc", 1), Ids{1});
  expect_error(ErrorKind::usage, {"1"}, [&] { tokenizer.encode("a", 0); });
  expect_error(ErrorKind::usage, {"UTF-8"}, [&] { tokenizer.encode("a\xff"); });
}

TEST(ByteTokenizer, ReadsItsSettings) {
  const auto folder = test::scratch_folder();
  auto open = [&](const json& settings) {
    test::write_text(folder / "tokenizer_config.json", settings.dump());
    return ByteTokenizer::open(folder);
  };
  EXPECT_EQ(open({{"extra_ids", 2}}).encode("<extra_id_1>"), (Ids{260, 1}));
  EXPECT_GT(open({{"extra_ids", 2}}).encode("<extra_id_2>").size(), 2u);
  const json plain{{"content", "</s>"}, {"lstrip", false}, {"rstrip", false}};
  EXPECT_EQ(open({{"added_tokens_decoder", {{"1", plain}}}}).encode(" </s>b"), (Ids{35, 1, 101, 1}));
  expect_error(ErrorKind::checkpoint, {"tokenizer_class", "T5Tokenizer"}, [&] {
    open({{"tokenizer_class", "T5Tokenizer"}});
  });
  expect_error(ErrorKind::checkpoint, {"added_tokens_decoder", "x"}, [&] {
    open({{"added_tokens_decoder", {{"x", plain}}}});
  });
  expect_error(ErrorKind::checkpoint, {"eos_token"}, [&] {
    open({{"eos_token", "</q>"}, {"added_tokens_decoder", {{"1", plain}}}});
  });
  expect_error(ErrorKind::checkpoint, {"tokenizer_config.json"}, [&] { ByteTokenizer::open(folder / "nowhere"); });
}

TEST(GlyphText, EqualsTheReference) {
  const ByteTokenizer tokenizer;
  const json cases = test::read_json(golden("glyph_cases.json"));
  ASSERT_GT(cases.size(), 10u);
  for (const json& c : cases) {
    const std::string prompt = c["prompt"];
    auto strings = c["strings"].get<std::vector<std::string>>();
    if (strings.empty()) strings.emplace_back();
    EXPECT_EQ(glyph_strings(prompt), strings) << prompt;
    const auto ids = glyph_ids(tokenizer, prompt);
    EXPECT_EQ(ids, c["ids"].get<std::vector<Ids>>()) << prompt;
    EXPECT_EQ(glyph_ids(prompt), ids);
    size_t rows = 0;
    for (const Ids& string : ids) rows += string.size();
    EXPECT_EQ(rows, c["rows"].get<size_t>()) << prompt;
  }
}

TEST(GlyphText, EdgesOfQuotes) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(glyph_strings("don't say 'hi' or \"yo\""), (Strings{"t say ", "yo"}));
  EXPECT_EQ(glyph_strings("\u201cx \u201cy\u201d z\u201d"), Strings{"y"});
  EXPECT_EQ(glyph_strings("\u201d\u201ca\u201d\u201c"), Strings{"a"});
  EXPECT_EQ(glyph_strings("'' and \"\""), (Strings{"", ""}));
  EXPECT_EQ(glyph_strings("\u2018a\u2019 \u300eb\u300f `c`"), Strings{""});
  EXPECT_EQ(glyph_strings("\"line\nline\""), Strings{"line\nline"});
  expect_error(ErrorKind::usage, {"UTF-8"}, [] { glyph_ids(ByteTokenizer(), "'\xff'"); });
}

TEST(GlyphText, LeadingPadDependsOnTheNumberOfStrings) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(glyph_ids(tokenizer, "'a'"), (std::vector<Ids>{{100, 1}}));
  EXPECT_EQ(glyph_ids(tokenizer, "'a' 'b'"), (std::vector<Ids>{{0, 100, 1}, {0, 101, 1}}));
  EXPECT_EQ(glyph_ids(tokenizer, "'abc' 'b'", 2), (std::vector<Ids>{{0, 100, 1}, {0, 101, 1}}));
}

}  // namespace
}  // namespace glmimage
