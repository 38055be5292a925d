#include "text/bpe_tokenizer.h"

#include <chrono>
#include <thread>

#include "text/text_test_helpers.h"

namespace glmimage {
namespace {

using Ids = std::vector<int64_t>;
using nlohmann::json;
using test::expect_error;
using test::golden;

std::filesystem::path tokenizer_file(const std::string& checkpoint) {
  return golden(checkpoint + "/checkpoint/processor/tokenizer.json");
}

TEST(BpeTokenizer, EqualsTheReference) {
  for (const std::string& name : test::tiny_checkpoints()) {
    const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file(name));
    const json cases = test::read_json(golden(name + "/tokenizer_cases.json"));
    ASSERT_GT(cases.size(), 50u);
    for (const json& c : cases) {
      const std::string text = c["text"];
      const Ids ids = tokenizer.encode(text, SpecialTokens::parse);
      EXPECT_EQ(ids, c["ids"].get<Ids>()) << name << ": " << text;
      EXPECT_EQ(tokenizer.decode(ids), c["decoded"].get<std::string>()) << name << ": " << text;
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, SpecialTokens::as_text)), text) << name;
    }
  }
}

// The reference with split_special_tokens. Where it finds a control token as a word of the vocabulary after all
// (ignore_merges and a text that is one word), ours stays text.
TEST(BpeTokenizer, SpecialTokensAsTextEqualsTheReference) {
  for (const std::string& name : test::tiny_checkpoints()) {
    const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file(name));
    for (const json& c : test::read_json(golden(name + "/tokenizer_cases.json"))) {
      const std::string text = c["text"];
      const Ids ids = tokenizer.encode(text, SpecialTokens::as_text);
      EXPECT_EQ(ids, c["ids_plain"].get<Ids>()) << name << ": " << text;
      for (int64_t id : ids) {
        const AddedToken* token = tokenizer.added_token(id);
        EXPECT_FALSE(token && token->special) << text;
      }
    }
  }
}

TEST(BpeTokenizer, FindsTokensByName) {
  const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file("tiny_a"));
  EXPECT_EQ(tokenizer.token_id("<|dit_token_7|>"), 7);
  EXPECT_EQ(tokenizer.token_id("<sop>"), 540);
  EXPECT_EQ(tokenizer.token(540), "<sop>");
  EXPECT_EQ(tokenizer.find_token("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.token(100000), std::nullopt);
  EXPECT_EQ(tokenizer.id_limit(), 554);
  EXPECT_TRUE(tokenizer.prefix().empty());
  EXPECT_TRUE(tokenizer.suffix().empty());
  expect_error(ErrorKind::checkpoint, {"tokenizer.json", "no such token"},
               [&] { tokenizer.token_id("no such token"); });
}

TEST(BpeTokenizer, RefusesInvalidUtf8) {
  const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file("tiny_a"));
  for (const char* text : {"ab\xff", "\xc3", "a\xe4\xbd", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "\x80"}) {
    expect_error(ErrorKind::usage, {"UTF-8", "byte"}, [&] { tokenizer.encode(text, SpecialTokens::parse); });
  }
  EXPECT_EQ(tokenizer.encode(std::string_view("\0", 1), SpecialTokens::parse).size(), 1u);
}

TEST(BpeTokenizer, DecodesBrokenSequencesToReplacementCharacters) {
  const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file("tiny_a"));
  Ids bytes = tokenizer.encode("\u7280", SpecialTokens::parse);
  if (bytes.size() < 2) GTEST_SKIP() << "one token";
  bytes.pop_back();
  EXPECT_EQ(tokenizer.decode(bytes), "\ufffd");
  EXPECT_EQ(tokenizer.decode({1 << 20, -1}), "");
}

std::string repeated(const std::string& text, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += text;
  return out;
}

TEST(BpeTokenizer, LongTextsAreFastAndComplete) {
  const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file("tiny_b"));
  for (const std::string piece : {"a", " ", "the cat ", "你好，世界。", "\n", "<", "<|image|>", "'", "1", "a\n \n"}) {
    const std::string text = repeated(piece, 100000);
    for (SpecialTokens mode : {SpecialTokens::parse, SpecialTokens::as_text}) {
      const auto start = std::chrono::steady_clock::now();
      const Ids ids = tokenizer.encode(text, mode);
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << piece;
      EXPECT_EQ(tokenizer.decode(ids), text) << piece;
    }
  }
}

// The heap for long words and the scan for short ones must agree: a long word is as its two halves wherever no merge
// reaches over the cut, so compare with a text whose words all are short.
TEST(BpeTokenizer, LongWordsMergeLikeShortOnes) {
  const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file("tiny_a"));
  const Ids short_word = tokenizer.encode("sleeping", SpecialTokens::parse);
  const Ids long_word = tokenizer.encode(repeated("sleeping", 800), SpecialTokens::parse);
  Ids expected;
  for (int i = 0; i < 100; ++i) expected.insert(expected.end(), short_word.begin(), short_word.end());
  EXPECT_EQ(long_word, expected);
}

TEST(BpeTokenizer, MayBeSharedByThreads) {
  const BpeTokenizer tokenizer = BpeTokenizer::open(tokenizer_file("tiny_a"));
  const std::string text = repeated("Don't draw 12 red apples，你好 <sop> ", 20000);
  const Ids expected = tokenizer.encode(text, SpecialTokens::parse);
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  for (Ids& result : results) threads.emplace_back([&] { result = tokenizer.encode(text, SpecialTokens::parse); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& result : results) EXPECT_EQ(result, expected);
}

// ---- files that are not as they should be -------------------------------------------------------------------------

class BrokenTokenizer : public ::testing::Test {
 protected:
  void expect(const std::vector<std::string>& parts, const std::function<void(json&)>& change) {
    json content = test::read_json(tokenizer_file("tiny_a"));
    change(content);
    expect_text(parts, content.dump());
  }
  void expect_text(std::vector<std::string> parts, const std::string& content) {
    const auto file = test::scratch_folder() / "tokenizer.json";
    test::write_text(file, content);
    parts.push_back("tokenizer.json");
    expect_error(ErrorKind::checkpoint, parts, [&] { BpeTokenizer::open(file); });
  }
};

TEST_F(BrokenTokenizer, Files) {
  expect_error(ErrorKind::checkpoint, {"nowhere"}, [] { BpeTokenizer::open("/nowhere/tokenizer.json"); });
  expect_error(ErrorKind::checkpoint, {}, [] { BpeTokenizer::open(golden("tiny_a")); });
  for (const char* content : {"", "{", "[]", "3", "{\"model\": {\"vocab\": {\"a\": 1", "{\"a\": \"\xff\"}"})
    expect_text({}, content);
  std::ifstream stream(tokenizer_file("tiny_a"));
  const std::string whole((std::istreambuf_iterator<char>(stream)), {});
  for (size_t size : {whole.size() / 3, whole.size() / 2, whole.size() - 10})
    expect_text({"not valid JSON"}, whole.substr(0, size));
  expect_text({"model"}, "{}");
  expect_text({"deep"}, std::string(100000, '['));
}

TEST_F(BrokenTokenizer, Model) {
  expect({"type", "WordPiece"}, [](json& j) { j["model"]["type"] = "WordPiece"; });
  expect({"byte_fallback"}, [](json& j) { j["model"]["byte_fallback"] = true; });
  expect({"dropout"}, [](json& j) { j["model"]["dropout"] = 0.1; });
  expect({"end_of_word_suffix"}, [](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; });
  expect({"unk_token", "nothing"}, [](json& j) { j["model"]["unk_token"] = "nothing"; });
  expect({"model.vocab"}, [](json& j) { j["model"].erase("vocab"); });
  expect({"model.vocab", "ab"}, [](json& j) { j["model"]["vocab"]["ab"] = "x"; });
  expect({"model.vocab", "ab"}, [](json& j) { j["model"]["vocab"]["ab"] = -1; });
  expect({"model.vocab", "ab"}, [](json& j) { j["model"]["vocab"]["ab"] = int64_t{1} << 40; });
  expect({"model.vocab", "ab"}, [](json& j) { j["model"]["vocab"]["ab"] = 3; });
  expect({"model.merges"}, [](json& j) { j["model"]["merges"].push_back({"a"}); });
  expect({"model.merges"}, [](json& j) { j["model"]["merges"].push_back("a b c"); });
  expect({"model.merges"}, [](json& j) { j["model"]["merges"].push_back(7); });
  expect({"model.merges", "zq", "vocabulary"}, [](json& j) { j["model"]["merges"].push_back("z q"); });
}

TEST_F(BrokenTokenizer, Parts) {
  expect({"normalizer.type", "NFC"}, [](json& j) { j["normalizer"] = {{"type", "NFC"}}; });
  expect({"pre_tokenizer.type", "Metaspace"}, [](json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}}; });
  expect({"pre_tokenizer", "behavior"}, [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Other"; });
  expect({"regular expression"}, [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a"; });
  expect({"regular expression", "\\b"},
         [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\ba"; });
  expect({"post_processor.type", "Roberta"}, [](json& j) { j["post_processor"] = {{"type", "RobertaProcessing"}}; });
  expect({"added_tokens"}, [](json& j) { j["added_tokens"] = 3; });
  expect({"added_tokens[0].id"}, [](json& j) { j["added_tokens"][0].erase("id"); });
  expect({"added_tokens[1].content"}, [](json& j) { j["added_tokens"][1]["content"] = 4; });
  expect({"dit_token_2", "added_tokens"}, [](json& j) { j["added_tokens"][2]["id"] = 9; });
}

// ---- what the published file does not use ---------------------------------------------------------------------------

BpeTokenizer changed(const std::function<void(json&)>& change) {
  json content = test::read_json(tokenizer_file("tiny_a"));
  change(content);
  const auto file = test::scratch_folder() / "tokenizer.json";
  test::write_text(file, content.dump());
  return BpeTokenizer::open(file);
}

TEST(BpeTokenizer, TemplateProcessing) {
  const BpeTokenizer tokenizer = changed([](json& j) {
    j["post_processor"] = json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
      {"type": "TemplateProcessing", "pair": [],
       "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                  {"SpecialToken": {"id": "E", "type_id": 0}}],
       "special_tokens": {"B": {"id": "B", "ids": [538, 540], "tokens": ["[gMASK]", "<sop>"]},
                          "E": {"id": "E", "ids": [541], "tokens": ["<eop>"]}}}]})");
  });
  EXPECT_EQ(tokenizer.prefix(), (Ids{538, 540}));
  EXPECT_EQ(tokenizer.suffix(), Ids{541});
}

TEST(BpeTokenizer, LongestAddedTokenWinsAndFlagsHold) {
  const BpeTokenizer tokenizer = changed([](json& j) {
    auto add = [&](int id, const char* content, const char* flag) {
      json token{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                 {"rstrip", false}, {"normalized", false}, {"special", false}};
      token[flag] = true;
      j["added_tokens"].push_back(token);
    };
    add(554, "<x>", "special");
    add(555, "<x>y", "special");
    add(556, "<l>", "lstrip");
    add(557, "<r>", "rstrip");
    add(558, "<w>", "single_word");
    add(559, "<n><x>", "normalized");
  });
  auto encode = [&](const char* text) { return tokenizer.encode(text, SpecialTokens::parse); };
  const int64_t a = encode("a")[0];
  EXPECT_EQ(encode("<x><x>y"), (Ids{554, 555}));
  EXPECT_EQ(encode("a \u3000<l>a"), (Ids{a, 556, a}));
  EXPECT_EQ(encode("a<r> \n\ta"), (Ids{a, 557, a}));
  EXPECT_EQ(encode("<w>"), Ids{558});
  EXPECT_EQ(encode(".<w>.").size(), 3u);
  EXPECT_GT(encode("a<w>").size(), 2u);
  EXPECT_EQ(encode("<n><x>").back(), 554);  // the pass without normalisation comes first
}

TEST(BpeTokenizer, UnknownCharacters) {
  auto small = [](bool fuse) {
    return changed([fuse](json& j) {
      j["pre_tokenizer"] = nullptr;
      j["added_tokens"] = json::array();
      j["model"]["vocab"] = {{"?", 0}, {"a", 1}, {"b", 2}, {"ab", 3}};
      j["model"]["merges"] = {"a b"};
      j["model"]["unk_token"] = "?";
      j["model"]["fuse_unk"] = fuse;
    });
  };
  EXPECT_EQ(small(false).encode("abxya", SpecialTokens::parse), (Ids{3, 0, 0, 1}));
  EXPECT_EQ(small(true).encode("abxya", SpecialTokens::parse), (Ids{3, 0, 1}));
}

}  // namespace
}  // namespace glmimage
