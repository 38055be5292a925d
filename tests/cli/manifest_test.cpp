#include "cli/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "support/error_of.h"
#include "support/goldens.h"

namespace glmimage::cli {
namespace {

using nlohmann::ordered_json;
using test::error_of;
using ::testing::HasSubstr;

const ordered_json kSettings = {{"steps", 20}, {"label", "hidden"}};

ManifestEntry entry(int64_t number) {
  return {.number = number,
          .prompt = "ein \"Hund\"\nund 一只猫",
          .seed = 18446744073709551615u,
          .file = "a-1.png",
          .bytes = 12,
          .sha256 = std::string(64, 'a'),
          .width = 64,
          .height = 32,
          .seconds = 1.25};
}

std::filesystem::path fresh() { return test::scratch_folder() / "manifest.jsonl"; }

std::string content(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void append_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary | std::ios::app) << text;
}

std::vector<int64_t> numbers(const std::vector<ManifestEntry>& entries) {
  std::vector<int64_t> out;
  for (const ManifestEntry& each : entries) out.push_back(each.number);
  return out;
}

TEST(Manifest, ReadsBackWhatWasAppended) {
  const auto file = fresh();
  Manifest manifest(file, kSettings);
  EXPECT_TRUE(manifest.has_locks());
  EXPECT_TRUE(manifest.read().empty());
  manifest.append(entry(3));
  const std::vector<ManifestEntry> found = manifest.read();
  ASSERT_EQ(found.size(), 1u);
  const ManifestEntry wanted = entry(3);
  EXPECT_EQ(found[0].number, 3);
  EXPECT_EQ(found[0].prompt, wanted.prompt);
  EXPECT_EQ(found[0].seed, wanted.seed);
  EXPECT_EQ(found[0].file, wanted.file);
  EXPECT_EQ(found[0].bytes, 12);
  EXPECT_EQ(found[0].sha256, wanted.sha256);
  EXPECT_EQ(found[0].width, 64);
  EXPECT_EQ(found[0].height, 32);
  EXPECT_EQ(found[0].seconds, 1.25);
  EXPECT_EQ(found[0].line, 2);
  EXPECT_TRUE(manifest.read().empty()) << "nothing new";
}

TEST(Manifest, SeveralAppendToOneFile) {
  const auto file = fresh();
  Manifest first(file, kSettings), second(file, kSettings);
  for (int64_t i = 1; i <= 50; ++i) (i % 2 ? first : second).append(entry(i));
  EXPECT_EQ(numbers(first.read()), numbers(second.read()));
  EXPECT_EQ(Manifest(file, kSettings).read().size(), 50u);
}

TEST(Manifest, APictureIsClaimedOnce) {
  const auto file = fresh();
  Manifest first(file, kSettings);
  {
    Manifest second(file, kSettings);
    EXPECT_TRUE(first.claim(1));
    EXPECT_FALSE(second.claim(1));
    EXPECT_TRUE(second.claim(2));
    first.release(1);
    EXPECT_TRUE(second.claim(1));
    EXPECT_FALSE(first.claim(1));
  }
  EXPECT_TRUE(first.claim(1)) << "whoever is gone holds nothing";
  EXPECT_TRUE(first.claim(2));
}

TEST(Manifest, UnfinishedLinesArePassedOver) {
  const auto file = fresh();
  { Manifest(file, kSettings).append(entry(1)); }
  const std::string whole = content(file);
  const size_t line = whole.find("{\"number\":");
  for (size_t cut : {size_t{1}, size_t{5}, size_t{40}, whole.size() - line - 1}) {
    std::filesystem::resize_file(file, line + cut);
    Manifest manifest(file, kSettings);
    EXPECT_TRUE(manifest.read().empty()) << "an unfinished line is none, even if only its end is missing";
    manifest.append(entry(2));
    EXPECT_EQ(numbers(manifest.read()).back(), 2) << cut;
    EXPECT_EQ(numbers(Manifest(file, kSettings).read()).back(), 2) << cut;
    std::filesystem::resize_file(file, line);
  }
  append_text(file, std::string(100, '\0'));  // what a power cut may leave
  Manifest manifest(file, kSettings);
  manifest.append(entry(7));
  EXPECT_EQ(numbers(manifest.read()), std::vector<int64_t>{7});
  EXPECT_EQ(manifest.unfinished_lines(), 1);
}

TEST(Manifest, ABrokenHeaderIsWrittenAnew) {
  const auto file = fresh();
  append_text(file, "{\"glm_image_manif");
  { Manifest(file, kSettings).append(entry(1)); }
  EXPECT_EQ(Manifest(file, kSettings).read().size(), 1u);
  EXPECT_THAT(error_of(ErrorKind::usage,
                       [&] {
                         Manifest(file, {{"steps", 21}, {"label", "hidden"}});
                       }),
              HasSubstr("steps: 20 there, 21 now"));
}

TEST(Manifest, OtherSettingsAreNamed) {
  const auto file = fresh();
  { const Manifest manifest(file, kSettings); }
  EXPECT_THAT(error_of(ErrorKind::usage,
                       [&] {
                         Manifest(file, {{"steps", 20}, {"label", "none"}});
                       }),
              HasSubstr("label: \"hidden\" there, \"none\" now"));
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { Manifest(file, {{"steps", 20}}); }), HasSubstr("does not know"));
}

TEST(Manifest, OtherFilesAreLeftAlone) {
  const auto file = fresh();
  const auto refusal = [&](const std::string& text) {
    std::filesystem::remove(file);
    append_text(file, text);
    const std::string message = error_of(ErrorKind::usage, [&] { const Manifest manifest(file, kSettings); });
    EXPECT_EQ(content(file), text) << "nothing is written into it";
    EXPECT_THAT(message, HasSubstr(file.string()));
    return message;
  };
  EXPECT_THAT(refusal("a cat\na dog\n"), HasSubstr(":1"));
  EXPECT_THAT(refusal("[1]\n"), HasSubstr("no line of a manifest"));
  EXPECT_THAT(refusal("{\"text\": \"a cat\"}\n"), HasSubstr("number"));
  EXPECT_THAT(refusal("{\"glm_image_manifest\":2}\n"), HasSubstr("glm_image_manifest"));
  EXPECT_THAT(refusal("{\"number\":1,\"prompt\":5}\n"), HasSubstr("prompt"));
  EXPECT_THAT(refusal("{\"number\":1,\"prompt\":\"\",\"seed\":-1}\n"), HasSubstr("seed"));
  EXPECT_THAT(refusal(std::string(1000, '[') + "\n"), HasSubstr(":1"));
  EXPECT_THAT(refusal(std::string((17u << 20), 'x')), HasSubstr("bytes"));
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { const Manifest manifest("/dev/null", kSettings); }),
              HasSubstr("/dev/null"));
  EXPECT_THAT(error_of(ErrorKind::io, [&] { const Manifest manifest("/no/such/folder/m", kSettings); }),
              HasSubstr("/no/such/folder/m"));
}

}  // namespace
}  // namespace glmimage::cli
