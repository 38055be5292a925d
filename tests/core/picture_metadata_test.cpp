#include "core/picture_metadata.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <cstdlib>
#include <random>

#include "core/image_helpers.h"
#include "core/memory.h"

namespace glmimage {
namespace {

using test::Bytes;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr PictureFormat kFormats[] = {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp};

PictureMetadata everything() {
  return {.parameters = "猫 \"OPEN\" <&> Straße 🦊\nSteps: 50, Seed: 7",
          .recipe = R"({"prompt":"\u732b <&> ]]> \"OPEN\""})",
          .aigc_label = R"({"Label":"1","ContentProducer":"me","ProduceID":"a-1"})",
          .digital_source_type = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
          .creator_tool = "glm-image 0.1.0"};
}

FoundMetadata read(const Bytes& bytes) { return read_metadata(bytes, "cat"); }

TEST(PictureMetadata, ComesBackFromEveryFormat) {
  for (const PictureFormat format : kFormats) {
    const Bytes bytes = encode_image(test::gradient(20, 9), {.format = format, .metadata = everything()});
    const FoundMetadata found = read(bytes);
    EXPECT_EQ(found.format, format);
    EXPECT_THAT(found.faults, IsEmpty());
    EXPECT_EQ(found.metadata, everything()) << picture_format_name(format) << ": " << found.metadata.parameters;
    EXPECT_EQ(decode_image(bytes, "cat").width, 20);
  }
}

TEST(PictureMetadata, ComesBackWithoutALabel) {
  PictureMetadata metadata = everything();
  metadata.aigc_label.clear();
  for (const PictureFormat format : kFormats) {
    const FoundMetadata found = read(encode_image(test::gradient(9, 9), {.format = format, .metadata = metadata}));
    EXPECT_EQ(found.metadata, metadata) << picture_format_name(format);
  }
}

TEST(PictureMetadata, NothingIsNothing) {
  for (const PictureFormat format : kFormats) {
    const FoundMetadata found = read(encode_image(test::gradient(9, 9), {.format = format}));
    EXPECT_TRUE(found.metadata.empty());
    EXPECT_THAT(found.faults, IsEmpty());
  }
}

// Prompts may have a megabyte; a segment of JPEG has room for 64 KiB.
TEST(PictureMetadata, LongRecipesComeBack) {
  PictureMetadata metadata = everything();
  for (const size_t bytes : {60'000, 64'000, 65'400, 70'000, 3'000'000}) {
    metadata.recipe = "{\"prompt\":\"" + std::string(bytes, 'x') + "\"}";
    metadata.parameters = std::string(bytes, 'y') + "猫\nSteps: 1";
    for (const PictureFormat format : kFormats) {
      const FoundMetadata found = read(encode_image(test::gradient(9, 9), {.format = format, .metadata = metadata}));
      EXPECT_THAT(found.faults, IsEmpty());
      EXPECT_EQ(found.metadata.recipe, metadata.recipe) << picture_format_name(format) << ", " << bytes;
      EXPECT_EQ(found.metadata.aigc_label, metadata.aigc_label);
      const bool room = format != PictureFormat::jpeg || bytes <= 64'000;
      EXPECT_EQ(found.metadata.parameters, room ? metadata.parameters : "") << picture_format_name(format);
    }
  }
}

// The extension's pieces of a JPEG file: one left out, and lengths that lie.
TEST(PictureMetadata, BrokenExtensionsAreAFault) {
  PictureMetadata metadata = everything();
  metadata.recipe = std::string(150'000, 'x');
  const Bytes good = encode_image(test::gradient(9, 9), {.format = PictureFormat::jpeg, .metadata = metadata});
  const std::string text(good.begin(), good.end());
  std::vector<size_t> pieces;
  const std::string mark("http://ns.adobe.com/xmp/extension/\0", 35);
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) pieces.push_back(at);
  ASSERT_EQ(pieces.size(), 3U);
  for (const size_t at :
       {pieces[1], pieces[1] + 35 + 3, pieces[0] + 35 + 32, pieces[1] + 35 + 32 + 4, pieces[2] + 35 + 32 + 7}) {
    Bytes bad = good;
    bad[at] ^= 1;  // the segment's kind, its id, the length, an offset
    const FoundMetadata found = read(bad);
    EXPECT_EQ(found.metadata.recipe, "");
    EXPECT_EQ(found.metadata.aigc_label, metadata.aigc_label) << "stands in the first packet";
    EXPECT_THAT(found.faults, Contains(HasSubstr("not complete")));
  }
}

Bytes png_chunk(const std::string& type, const std::string& data) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : type + data) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  Bytes out;
  const auto number = [&](uint32_t value) {
    for (int i = 3; i >= 0; --i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
  };
  number(static_cast<uint32_t>(data.size()));
  for (const char c : type + data) out.push_back(static_cast<uint8_t>(c));
  number(crc ^ 0xFFFFFFFF);
  return out;
}

// A picture with chunks put before its pixels, or behind.
Bytes with_chunks(const std::vector<Bytes>& chunks, const char* before) {
  Bytes png = encode_image(test::gradient(9, 9));
  const std::string text(png.begin(), png.end());
  std::ptrdiff_t at = static_cast<std::ptrdiff_t>(text.find(before)) - 4;
  for (const Bytes& chunk : chunks) {
    png.insert(png.begin() + at, chunk.begin(), chunk.end());
    at += static_cast<std::ptrdiff_t>(chunk.size());
  }
  return png;
}

TEST(PngMetadata, ReadsOthersAndChunksBehindThePixels) {
  const Bytes chunk = png_chunk("tEXt", std::string("parameters\0a cat\nSteps: 20", 26));
  for (const char* place : {"IDAT", "IEND"}) {
    EXPECT_EQ(read(with_chunks({chunk}, place)).metadata.parameters, "a cat\nSteps: 20") << place;
  }
}

TEST(PngMetadata, BrokenChunksAreFaults) {
  Bytes damaged = png_chunk("tEXt", std::string("parameters\0Steps: 20", 20));
  damaged.back() ^= 1;  // its checksum
  const FoundMetadata found = read(with_chunks({damaged, png_chunk("tEXt", std::string("AIGC\0{}", 7))}, "IDAT"));
  EXPECT_EQ(found.metadata.parameters, "");
  EXPECT_EQ(found.metadata.aigc_label, "{}");
  EXPECT_THAT(found.faults, Contains(HasSubstr("CRC")));

  const std::string xmp = std::string("XML:com.adobe.xmp\0\0\0\0\0", 22) + "<no xml";
  EXPECT_THAT(read(with_chunks({png_chunk("iTXt", xmp)}, "IDAT")).faults, Contains(HasSubstr("no XML")));
  const std::string not_zlib = std::string("parameters\0\0", 12) + "this is not zlib's";
  EXPECT_THAT(read(with_chunks({png_chunk("zTXt", not_zlib)}, "IDAT")).faults, Contains(HasSubstr("zTXt")));
}

TEST(PngMetadata, ManyAndHugeChunksTakeNoMemory) {
  const std::vector<Bytes> chunks(2000, png_chunk("tEXt", std::string("Comment\0x", 9)));
  EXPECT_EQ(read(with_chunks(chunks, "IDAT")).metadata, PictureMetadata{});

  Bytes lying = png_chunk("tEXt", std::string("parameters\0x", 12));
  lying[0] = 0x7F;  // a length of 2 GiB
  const Bytes short_file = with_chunks({lying}, "IDAT");
  std::string packed(200'000, '\0');
  uLongf size = packed.size();
  const std::string bomb(100'000'000, 'x');
  ASSERT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(bomb.data()),
                     bomb.size()),
            Z_OK);
  const Bytes bombed =
      with_chunks({png_chunk("zTXt", std::string("parameters\0\0", 12) + packed.substr(0, size))}, "IDAT");

  const int64_t before = peak_resident_bytes();
  EXPECT_THAT(read(short_file).faults, Contains(HasSubstr("ends early")));
  EXPECT_THAT(test::image_refusal(short_file), HasSubstr("ends early"));
  EXPECT_THAT(read(bombed).faults, Contains(HasSubstr("zTXt")));
  EXPECT_EQ(decode_image(bombed, "bomb").width, 9);
  EXPECT_LT(peak_resident_bytes() - before, int64_t{64} << 20);
}

// Wherever a file is cut: what stood before may be found, nothing crashes, and what is no picture any more is an error.
TEST(PictureMetadata, SurvivesCutsAndNoise) {
  for (const PictureFormat format : kFormats) {
    const Bytes good = encode_image(test::gradient(20, 9), {.format = format, .metadata = everything()});
    const auto try_reading = [](std::span<const uint8_t> bytes) {
      try {
        const FoundMetadata found = read_metadata(bytes, "cat");
        return found.faults.size();
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
        return size_t{0};
      }
    };
    for (size_t length = 0; length < good.size(); length += 7) try_reading({good.data(), length});
    EXPECT_GT(try_reading({good.data(), format == PictureFormat::jpeg ? 200 : good.size() / 2}), 0U);
    std::mt19937 random(7);
    const int rounds = std::getenv("GLM_IMAGE_SOAK") == nullptr ? 500 : 200'000;
    for (int round = 0; round < rounds; ++round) {
      Bytes bad = good;
      for (int i = 0; i < 4; ++i) bad[random() % bad.size()] = static_cast<uint8_t>(random());
      try_reading(bad);
    }
  }
}

}  // namespace
}  // namespace glmimage
