#include "train/watch/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "train/stage_helpers.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;

// A reader that shares nothing with the writer: the checksum bit by bit, the wire format field by field.
uint32_t plain_crc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = (crc & 1) ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  return crc ^ 0xffffffff;
}

template <typename Value>
Value little_endian(const std::string& bytes, size_t at) {
  Value value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

uint32_t masked(const std::string& bytes) {
  const uint32_t crc = plain_crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::vector<std::string> records(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(in), {}};
  std::vector<std::string> out;
  size_t at = 0;
  while (at < all.size()) {
    const auto length = static_cast<size_t>(little_endian<uint64_t>(all, at));
    EXPECT_EQ(little_endian<uint32_t>(all, at + 8), masked(all.substr(at, 8)));
    out.push_back(all.substr(at + 12, length));
    EXPECT_EQ(little_endian<uint32_t>(all, at + 12 + length), masked(out.back()));
    at += 16 + length;
  }
  EXPECT_EQ(at, all.size());
  return out;
}

// field number -> values: varints as numbers, the rest as bytes
struct Fields {
  std::multimap<uint64_t, uint64_t> numbers;
  std::multimap<uint64_t, std::string> bytes;
  explicit Fields(const std::string& message) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<uint8_t>(message.at(at++));
        value |= uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < message.size()) {
      const uint64_t key = varint(), kind = key & 7;
      if (kind == 0) {
        numbers.emplace(key >> 3, varint());
        continue;
      }
      const auto length = static_cast<size_t>(kind == 1 ? 8 : kind == 5 ? 4 : varint());
      bytes.emplace(key >> 3, message.substr(at, length));
      at += length;
    }
  }
  std::string text(uint64_t field) const { return bytes.count(field) ? bytes.find(field)->second : "(none)"; }
  uint64_t number(uint64_t field) const { return numbers.count(field) ? numbers.find(field)->second : ~uint64_t{0}; }
};

TEST(Crc32c, KnownVectors) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(plain_crc32c("123456789"), 0xe3069283u);
}

TEST(EventFile, SaysWhatWasWritten) {
  const fs::path folder = fresh_folder("events");
  fs::create_directories(folder);
  const Image image{2, 1, {1, 2, 3, 250, 251, 252}};
  EventFile file(folder, 0);
  file.scalars(7, {{"train/loss", 0.25}, {"train/psnr", -1e-3}});
  file.image(300, "samples/a", image);
  file.scalars(8, {});
  EXPECT_THAT(file.path().filename().string(), testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]+\\..+"));

  const std::vector<std::string> read = records(file.path());
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(Fields(read[0]).text(3), "brain.Event:2");
  EXPECT_GT(little_endian<double>(Fields(read[0]).text(1), 0), 1.6e9);

  const Fields scalars(read[1]), summary(scalars.text(5));
  EXPECT_EQ(scalars.number(2), 7u);
  ASSERT_EQ(summary.bytes.count(1), 2u);
  auto value = summary.bytes.find(1);
  EXPECT_EQ(Fields(value->second).text(1), "train/loss");
  EXPECT_EQ(little_endian<float>(Fields(value->second).text(2), 0), 0.25f);
  ++value;
  EXPECT_EQ(Fields(value->second).text(1), "train/psnr");
  EXPECT_EQ(little_endian<float>(Fields(value->second).text(2), 0), -1e-3f);

  const Fields drawn(read[2]), tagged(Fields(drawn.text(5)).text(1)), picture(tagged.text(4));
  EXPECT_EQ(drawn.number(2), 300u);
  EXPECT_EQ(tagged.text(1), "samples/a");
  EXPECT_EQ(picture.number(1), 1u);  // height
  EXPECT_EQ(picture.number(2), 2u);  // width
  EXPECT_EQ(picture.number(3), 3u);
  const std::string png = picture.text(4);
  EXPECT_EQ(decode_image({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, "png").pixels, image.pixels);
}

TEST(EventFile, EveryStartHasAFileOfItsOwn) {
  const fs::path folder = fresh_folder("events_twice");
  fs::create_directories(folder);
  const EventFile first(folder, 0), second(folder, 40);
  EXPECT_NE(first.path(), second.path());
  const std::vector<std::string> read = records(second.path());
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(Fields(read[1]).number(2), 40u);  // TensorBoard forgets what it knows of step 40 and later
  EXPECT_EQ(Fields(Fields(read[1]).text(7)).number(1), 1u);
  EXPECT_EQ(records(first.path()).size(), 1u);
}

}  // namespace
}  // namespace glmimage::train
