#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <webp/encode.h>

#include <cstdlib>

#include "core/image_helpers.h"

namespace glmimage {
namespace {

using test::append;
using test::Bytes;
using test::chunk;
using ::testing::HasSubstr;

Bytes take(uint8_t* encoded, size_t size) {
  Bytes out(encoded, encoded + size);
  WebPFree(encoded);
  return out;
}

Bytes lossless(const Image& image) {
  uint8_t* out = nullptr;
  const size_t size = WebPEncodeLosslessRGB(image.pixels.data(), static_cast<int>(image.width),
                                            static_cast<int>(image.height), static_cast<int>(3 * image.width), &out);
  return take(out, size);
}

// An extended file: VP8X with these flags and canvas, then the chunks.
Bytes extended(uint8_t flags, uint32_t width, uint32_t height, const std::vector<Bytes>& chunks) {
  Bytes header{flags, 0, 0, 0};
  append(header, width - 1, 3);
  append(header, height - 1, 3);
  Bytes payload{'W', 'E', 'B', 'P'};
  for (const Bytes& part : {chunk("VP8X", header)}) payload.insert(payload.end(), part.begin(), part.end());
  for (const Bytes& part : chunks) payload.insert(payload.end(), part.begin(), part.end());
  return chunk("RIFF", payload);
}

// The chunks of a simple file, without its RIFF header.
Bytes inner(const Bytes& file) { return {file.begin() + 12, file.end()}; }

constexpr uint8_t kAnimation = 2, kExif = 8;

Bytes frame(uint32_t x, uint32_t y, const Image& image) {
  Bytes payload;
  append(payload, x / 2, 3), append(payload, y / 2, 3);
  append(payload, static_cast<uint32_t>(image.width - 1), 3),
      append(payload, static_cast<uint32_t>(image.height - 1), 3);
  append(payload, 100, 3), append(payload, 0, 1);
  const Bytes data = inner(lossless(image));
  payload.insert(payload.end(), data.begin(), data.end());
  return chunk("ANMF", payload);
}

TEST(WebP, ReadsLossless) {
  const Image image = test::gradient(37, 21);
  const Image back = decode_image(lossless(image), "cat");
  EXPECT_EQ(back.width, 37);
  EXPECT_EQ(back.height, 21);
  EXPECT_TRUE(back.pixels == image.pixels);
}

TEST(WebP, ReadsLossy) {
  const Image image{32, 16, std::vector<uint8_t>(32 * 16 * 3, 120)};
  uint8_t* out = nullptr;
  const size_t size = WebPEncodeRGB(image.pixels.data(), 32, 16, 96, 80, &out);
  const Image back = decode_image(take(out, size), "cat");
  ASSERT_EQ(back.pixels.size(), image.pixels.size());
  for (uint8_t v : back.pixels) EXPECT_NEAR(v, 120, 3);
}

TEST(WebP, DropsAlpha) {
  const Bytes rgba = {1, 2, 3, 255, 40, 50, 60, 1};
  uint8_t* out = nullptr;
  const size_t size = WebPEncodeLosslessRGBA(rgba.data(), 2, 1, 8, &out);
  EXPECT_EQ(decode_image(take(out, size), "cat").pixels, (Bytes{1, 2, 3, 40, 50, 60}));
}

TEST(WebP, IsTurnedUpright) {
  const Bytes picture = inner(lossless(test::letters("abc/def")));
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Bytes exif = chunk("EXIF", test::exif_block(orientation, test::ByteOrder::little));
    const Image image = decode_image(extended(kExif, 3, 2, {picture, exif}), "cat");
    EXPECT_EQ(test::to_letters(image), test::kUprightLetters[static_cast<size_t>(orientation - 1)]) << orientation;
  }
}

TEST(WebP, ReadsTheFirstFrameOfAnAnimation) {
  const Bytes settings = chunk("ANIM", {0, 0, 0, 0, 0, 0});
  const Bytes file =
      extended(kAnimation, 4, 3, {settings, frame(2, 0, test::letters("ab/cd")), frame(0, 0, test::letters("xxxx"))});
  Image image = decode_image(file, "cat");
  for (uint8_t& v : image.pixels) v = v == 0 ? '.' : v;
  EXPECT_EQ(test::to_letters(image), "..ab/..cd/....");
}

TEST(WebP, CutFilesAreRefused) {
  const Bytes bytes = lossless(test::gradient(20, 9));
  test::expect_all_cuts_refused(bytes);
  EXPECT_THAT(test::image_refusal({bytes.data(), bytes.size() / 2}), HasSubstr("ends early"));
}

TEST(WebP, NonsenseIsRefused) {
  Bytes bytes = lossless(test::gradient(20, 9));
  bytes[20] ^= 0xFF;  // the signature of the lossless stream
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("broken"));
  EXPECT_THAT(test::image_refusal(extended(0, 3, 2, {})), HasSubstr("broken"));
}

TEST(WebP, SizesAreCheckedBeforeMemoryIsTaken) {
  const Bytes picture = inner(lossless(test::letters("abc/def")));
  EXPECT_THAT(test::image_refusal(extended(kAnimation, 60000, 60000, {picture})),
              HasSubstr("60000 x 60000 px; at most 16384"));
  EXPECT_THAT(test::image_refusal(extended(kExif, 60000, 60000, {picture})), HasSubstr("broken"));  // not the picture's
  EXPECT_THAT(test::image_refusal(extended(kAnimation, 1, 16385, {picture})), HasSubstr("at most 16384"));
}

}  // namespace
}  // namespace glmimage
