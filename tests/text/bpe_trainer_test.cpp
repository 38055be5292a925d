#include "text/bpe_trainer.h"

#include "text/byte_tokenizer.h"
#include "text/chat_template.h"
#include "text/processor_files.h"
#include "text/text_test_helpers.h"

namespace glmimage {
namespace {

using Ids = std::vector<int64_t>;
using Merges = std::vector<std::pair<std::string, std::string>>;

const std::vector<std::string> kTexts{"a red apple and a red car", "a red apple under a blue star, written \"APPLE\"",
                                      "\u7ea2\u8272\u7684\u82f9\u679c\uff0c\u7ea2\u8272\u7684\u6c7d\u8f66",
                                      "a red apple 12 34 12"};

TEST(BpeTrainer, MergesTheMostFrequentPairFirst) {
  // aab aab ab: "ab" occurs three times, then "a"+"ab" twice.
  const Merges merges = train_bpe({"aab", "aab", "ab"}, {.dit_tokens = 0, .merges = 10, .min_count = 2});
  EXPECT_EQ(merges, (Merges{{"a", "b"}, {"a", "ab"}}));
  EXPECT_EQ(train_bpe({"aaaa aaaa"}, {.dit_tokens = 0, .merges = 2, .min_count = 1}),
            (Merges{{"a", "a"}, {"aa", "aa"}}));
  EXPECT_EQ(train_bpe({}, {}), Merges{});
}

TEST(BpeTrainer, IsDeterministicAndKeepsTheLimits) {
  const BpeTrainerOptions options{.dit_tokens = 0, .merges = 10, .min_count = 2};
  const Merges merges = train_bpe(kTexts, options);
  EXPECT_EQ(merges.size(), 10u);
  EXPECT_EQ(train_bpe(kTexts, options), merges);
  test::expect_error(ErrorKind::usage, {"UTF-8"}, [&] { train_bpe({"\xff"}, options); });
}

TEST(BpeTrainer, WritesAProcessorThatLoads) {
  const auto folder = test::scratch_folder() / "processor";
  ProcessorOptions options;
  options.tokenizer = {.dit_tokens = 40, .merges = 60, .min_count = 2};
  options.begin = 32;
  options.end = 33;
  options.picture_settings = {{"patch_size", 16}};
  const TrainedVocabulary vocabulary = write_processor(folder, kTexts, options);

  const ChatTemplate chat = ChatTemplate::open(folder, {.begin = 32, .end = 33, .image = vocabulary.image});
  const BpeTokenizer& tokenizer = chat.tokenizer();
  EXPECT_EQ(tokenizer.id_limit(), vocabulary.size);
  EXPECT_EQ(tokenizer.token_id("<|endoftext|>"), vocabulary.end_of_text);
  EXPECT_EQ(tokenizer.token_id("<|video|>"), vocabulary.size - 1);
  EXPECT_EQ(tokenizer.token_id("<|dit_token_39|>"), 39);
  EXPECT_EQ(tokenizer.token_id("!"), 40);
  EXPECT_EQ(tokenizer.token_id("<sop>"), vocabulary.end_of_text + 4);
  EXPECT_EQ(tokenizer.encode(" apple", SpecialTokens::parse).size(), 1u);
  for (const std::string& text : kTexts)
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, SpecialTokens::parse)), text);
  EXPECT_EQ(
      tokenizer.decode(chat.build({.text = "a car", .target = {4, 4}, .draft = PromptGrid{2, 2}, .sources = {}}).ids),
      "a car<sop>4 4<eop><sop>2 2<eop><|dit_token_32|>");
  EXPECT_EQ(test::read_json(folder / "preprocessor_config.json"), options.picture_settings);
  EXPECT_TRUE(std::filesystem::exists(folder / "chat_template.jinja"));

  options.begin = 40;
  test::expect_error(ErrorKind::internal, {"40"}, [&] { write_processor(folder, kTexts, options); });
}

TEST(BpeTrainer, WritesAByteTokenizerThatLoads) {
  const auto folder = test::scratch_folder() / "tokenizer";
  write_byte_tokenizer(folder);
  const ByteTokenizer written = ByteTokenizer::open(folder);
  for (const std::string text : {"", "OPEN", "a </s> b", " <extra_id_124> ", "<pad> <unk>"}) {
    EXPECT_EQ(written.encode(text), ByteTokenizer().encode(text)) << text;
  }
}

TEST(BpeTrainer, ReportsFoldersItCannotWrite) {
  const auto blocked = test::scratch_folder() / "file";
  test::write_text(blocked, "");
  test::expect_error(ErrorKind::io, {"file"}, [&] { write_byte_tokenizer(blocked / "tokenizer"); });
}

}  // namespace
}  // namespace glmimage
