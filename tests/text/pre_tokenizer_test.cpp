#include "text/pre_tokenizer.h"

#include "text/byte_alphabet.h"
#include "text/text_test_helpers.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

using Strings = std::vector<std::string>;
using nlohmann::json;

Strings words(const json& pre_tokenizer, const std::string& text) {
  const PreTokenizer splitter =
      PreTokenizer::from_json(JsonObject("test.json", "", {{"pre_tokenizer", pre_tokenizer}}));
  std::deque<std::string> storage;
  Strings out;
  for (std::string_view word : splitter.words(text, storage)) out.emplace_back(word);
  return out;
}

json split(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

// The examples are those of the tokenizers library's documentation of SplitDelimiterBehavior, and what it does to them.
TEST(PreTokenizer, SplitBehaviours) {
  const std::string text = "the-final--countdown";
  EXPECT_EQ(words(split("-", "Isolated"), text), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(words(split("-", "Removed"), text), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(words(split("-", "MergedWithPrevious"), text), (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(words(split("-", "MergedWithNext"), text), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(words(split("-", "Contiguous"), text), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(words(split("[a-z]+", "Removed", true), text), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(words(split("-", "Isolated"), ""), Strings{});
}

TEST(PreTokenizer, SplitAtALiteral) {
  const json literal{{"type", "Split"}, {"pattern", {{"String", "a.b"}}}, {"behavior", "Isolated"}, {"invert", false}};
  EXPECT_EQ(words(literal, "axba.bc"), (Strings{"axb", "a.b", "c"}));
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(words({{"type", "Digits"}, {"individual_digits", true}}, "a12 3"), (Strings{"a", "1", "2", " ", "3"}));
  EXPECT_EQ(words({{"type", "Digits"}, {"individual_digits", false}}, "a12 3"), (Strings{"a", "12", " ", "3"}));
}

TEST(PreTokenizer, ByteLevel) {
  const json plain{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  EXPECT_EQ(words(plain, "a \u00e9\n"), Strings{"a\u0120\u00c3\u00a9\u010a"});
  const json full{{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}};
  EXPECT_EQ(words(full, "we'll see 12"), (Strings{"\u0120we", "'ll", "\u0120see", "\u012012"}));
}

TEST(PreTokenizer, Glm4Split) {
  const std::string pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  auto cut = [&](const std::string& text) { return words(split(pattern, "Isolated"), text); };
  EXPECT_EQ(cut("DON'T draw 12345 cats!\n\n  x"),
            (Strings{"DON", "'T", " draw", " ", "123", "45", " cats", "!\n\n", " ", " x"}));
  EXPECT_EQ(cut("\u4f60\u597d\uff0c\u4e16\u754c"), (Strings{"\u4f60\u597d", "\uff0c\u4e16\u754c"}));
  EXPECT_EQ(cut("a\u180eb"), (Strings{"a", "\u180eb"}));    // not white space since Unicode 6.3
  EXPECT_EQ(cut("  \u180e."), (Strings{" ", " \u180e."}));  // a sign like any other
  EXPECT_EQ(cut("a\U00031350b"), Strings{"a\U00031350b"});  // a letter since Unicode 15
  EXPECT_EQ(cut("1\U00010d402"), Strings{"1\U00010d402"});  // a number since Unicode 16
}

TEST(Regex, RefusesWhatTheEnginesReadDifferently) {
  for (const char* pattern : {"\\ba", "\\p{Han}", "[a[b]]", "[a&&b]", "a{2,3}?", "a{2}+", "a{,2}", "(?m:a)", "(?<n>a)",
                              "\\1", "\\h", "a\\", "\\p", "[]a]", "(a", "\\u12", "[[:alpha:]]"}) {
    test::expect_error(ErrorKind::checkpoint, {"here", "regular expression"}, [&] { Regex::compile(pattern, "here"); });
  }
}

TEST(Regex, FindsEmptyMatchesOnce) {
  const Regex regex = Regex::compile("x*", "here");
  EXPECT_EQ(regex.find_all("a\u00e9xx"), (std::vector<Span>{{0, 0}, {1, 1}, {3, 5}}));
  EXPECT_EQ(regex.find_all(""), (std::vector<Span>{{0, 0}}));
}

TEST(Utf8, ValidatesAndStrips) {
  EXPECT_EQ(find_invalid_utf8("a\u00e9\u4f60\U0001f600"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("ab\xe4\xbd"), 2u);
  EXPECT_EQ(replace_invalid_utf8("a\xe4\xbd z\xff\xf0\x9f\x98"), "a\ufffd z\ufffd\ufffd");
  EXPECT_EQ(without_leading_space(" \u3000\n\u00a0x "), "x ");
  EXPECT_EQ(without_trailing_space(" x\u2028\u0085 "), " x");
  EXPECT_EQ(without_trailing_space(" \t"), "");
}

TEST(ByteAlphabet, IsABijection) {
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(character_to_byte(byte_to_character(byte)), byte);
  EXPECT_EQ(byte_to_character(' '), U'\u0120');
  EXPECT_EQ(character_to_byte(U' '), std::nullopt);
  EXPECT_EQ(byte_alphabet().size(), 256u);
  EXPECT_EQ(byte_alphabet()[0], "!");
}

}  // namespace
}  // namespace glmimage
