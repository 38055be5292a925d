#include "core/exif.h"

#include <gmock/gmock.h>

#include <random>

#include "core/image_helpers.h"
#include "core/utf8.h"

namespace glmimage {
namespace {

using test::Bytes;

const ExifTexts kTexts = {.description = "猫 at night\nSteps: 2", .software = "x", .user_comment = "plain"};

constexpr PictureSize kSize{640, 480};

TEST(Exif, GoesBothWays) {
  EXPECT_EQ(read_exif(write_exif(kTexts, kSize)), kTexts);
  EXPECT_EQ(read_exif(write_exif({}, kSize)), ExifTexts{});
  for (const std::string comment : {"a", "abc", "Straße 🦊 猫", "\xEF\xBF\xBD"}) {
    ExifTexts texts = kTexts;
    texts.user_comment = comment;
    EXPECT_EQ(read_exif(write_exif(texts, kSize)), texts);
  }
  EXPECT_EQ(exif_orientation(write_exif(kTexts, kSize)), 1);
}

TEST(Exif, WhatIsNoTextIsMadeOne) {
  const ExifTexts back =
      read_exif(write_exif({.description = std::string("a\0b", 3), .software = {}, .user_comment = "猫\xff"}, kSize));
  EXPECT_EQ(back.description, "a");
  EXPECT_EQ(back.user_comment, "猫\xEF\xBF\xBD");
}

// A comment in UTF-16 with the low byte first, as cameras with Intel's order write it.
TEST(Exif, ReadsTheOtherByteOrder) {
  Bytes block{'I', 'I', 42, 0, 8, 0, 0, 0};
  test::append(block, 1, 2);
  test::append(block, 0x8769, 2), test::append(block, 4, 2), test::append(block, 1, 4), test::append(block, 26, 4);
  test::append(block, 0, 4);
  test::append(block, 1, 2);
  test::append(block, 0x9286, 2), test::append(block, 7, 2), test::append(block, 12, 4), test::append(block, 44, 4);
  test::append(block, 0, 4);
  for (const char c : std::string("UNICODE\0", 8)) block.push_back(static_cast<uint8_t>(c));
  test::append(block, 0x732B, 2), test::append(block, 'a', 2);
  EXPECT_EQ(read_exif(block).user_comment, "猫a");
}

TEST(Exif, LabelsAreFoundInComments) {
  EXPECT_EQ(label_in_comment(aigc_comment(R"({"b":"1","a":""})")), R"({"b":"1","a":""})");
  for (const std::string text : {"", "hello", "{}", "[1]", "{\"AIGC\"", "\xff"})
    EXPECT_EQ(label_in_comment(text), "") << text;
  EXPECT_EQ(label_in_comment("{\"AIGC\":" + std::string(100000, '[') + std::string(100000, ']') + "}"), "");
}

// Offsets and counts that lie, cuts, noise: whatever comes out, nothing outside the block is read (the sanitizers'
// word).
TEST(Exif, SurvivesBrokenBlocks) {
  const Bytes good = write_exif(kTexts, kSize);
  for (size_t length = 0; length <= good.size(); ++length) read_exif({good.data(), length});
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    Bytes bad = good;
    for (int i = 0; i < 3; ++i) bad[random() % bad.size()] = static_cast<uint8_t>(random());
    const ExifTexts texts = read_exif(bad);
    EXPECT_LE(texts.description.size() + texts.software.size(), 2 * bad.size());
    exif_orientation(bad);
  }
  Bytes huge = good;
  for (size_t i = 14; i < 18; ++i) huge[i] = 0xFF;  // the first entry's count
  EXPECT_EQ(read_exif(huge).description, "");
}

TEST(Utf16, ReplacesWhatIsIllFormed) {
  EXPECT_EQ(utf16_from_utf8("a猫🦊"), std::string("\0a\x73\x2B\xD8\x3E\xDD\x8A", 8));
  const auto back = [](const std::string& bytes) {
    return utf8_from_utf16({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, true);
  };
  EXPECT_EQ(back(utf16_from_utf8("a猫🦊")), "a猫🦊");
  EXPECT_EQ(back(std::string("\xD8\x3E", 2)), "\xEF\xBF\xBD");
  EXPECT_EQ(back(std::string("\xDD\x8A\0a", 4)),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(back(std::string("\0a\0", 3)), "a");
  EXPECT_EQ(utf16_from_utf8("\xff"), "\xFF\xFD");
}

}  // namespace
}  // namespace glmimage
