#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>

#include "core/encode_image.h"
#include "core/image_codecs.h"
#include "core/image_helpers.h"
#include "core/srgb_profile.h"

namespace glmimage {
namespace {

using test::Bytes;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

struct PngKind {
  std::string name;
  int depth = 8;
  int colour = PNG_COLOR_TYPE_RGB;
  uint32_t width = 1, height = 1;
  Bytes data;    // packed rows, as PNG stores them
  Bytes pixels;  // the RGB they stand for
  int interlace = PNG_INTERLACE_NONE;
  bool transparency = false;  // a tRNS chunk
  Bytes exif = {};
};

void append(png_structp png, png_bytep data, size_t count) {
  auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
  out->insert(out->end(), data, data + count);
}

// libpng prints its errors and aborts: the kinds below are valid.
Bytes write_png(const PngKind& kind) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, append, nullptr);
  png_set_IHDR(png, info, kind.width, kind.height, kind.depth, kind.colour, kind.interlace, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  const png_color palette[4] = {{10, 20, 30}, {40, 50, 60}, {70, 80, 90}, {100, 110, 120}};
  const png_byte alphas[2] = {0, 7};
  const png_color_16 colour{0, 1, 2, 3, 1};
  const bool indexed = kind.colour == PNG_COLOR_TYPE_PALETTE;
  if (indexed) png_set_PLTE(png, info, palette, kind.depth == 1 ? 2 : 4);
  if (kind.transparency)
    png_set_tRNS(png, info, indexed ? alphas : nullptr, indexed ? 2 : 0, indexed ? nullptr : &colour);
  Bytes exif = kind.exif;
  if (!exif.empty()) png_set_eXIf_1(png, info, static_cast<png_uint_32>(exif.size()), exif.data());
  png_write_info(png, info);
  Bytes data = kind.data;
  std::vector<png_bytep> rows;
  for (uint32_t y = 0; y < kind.height; ++y) rows.push_back(data.data() + y * data.size() / kind.height);
  png_write_image(png, rows.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

Bytes greys(const Bytes& values) {
  Bytes out;
  for (uint8_t v : values) out.insert(out.end(), 3, v);
  return out;
}

const std::vector<PngKind> kKinds = {
    {"grey1", 1, PNG_COLOR_TYPE_GRAY, 3, 1, {0b10100000}, greys({255, 0, 255})},
    {"grey2", 2, PNG_COLOR_TYPE_GRAY, 4, 1, {0b00011011}, greys({0, 85, 170, 255})},
    {"grey4", 4, PNG_COLOR_TYPE_GRAY, 3, 1, {0x1F, 0x80}, greys({17, 255, 136})},
    {"grey8", 8, PNG_COLOR_TYPE_GRAY, 2, 1, {9, 200}, greys({9, 200})},
    {"grey8_transparent", 8, PNG_COLOR_TYPE_GRAY, 2, 1, {1, 200}, greys({1, 200}), PNG_INTERLACE_NONE, true},
    {"grey16_high_byte", 16, PNG_COLOR_TYPE_GRAY, 2, 1, {0x12, 0xFF, 0xFE, 0x00}, greys({0x12, 0xFE})},
    {"grey_alpha8", 8, PNG_COLOR_TYPE_GRAY_ALPHA, 2, 1, {9, 0, 200, 128}, greys({9, 200})},
    {"grey_alpha16", 16, PNG_COLOR_TYPE_GRAY_ALPHA, 1, 1, {0x33, 0xFF, 0, 0}, greys({0x33})},
    {"rgb8", 8, PNG_COLOR_TYPE_RGB, 1, 2, {1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}},
    {"rgb8_transparent", 8, PNG_COLOR_TYPE_RGB, 2, 1, {1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, PNG_INTERLACE_NONE, true},
    {"rgb16_high_byte", 16, PNG_COLOR_TYPE_RGB, 1, 1, {1, 255, 2, 128, 3, 0}, {1, 2, 3}},
    {"rgba8_alpha_dropped", 8, PNG_COLOR_TYPE_RGBA, 2, 1, {1, 2, 3, 0, 4, 5, 6, 128}, {1, 2, 3, 4, 5, 6}},
    {"rgba16", 16, PNG_COLOR_TYPE_RGBA, 1, 1, {1, 9, 2, 9, 3, 9, 0, 0}, {1, 2, 3}},
    {"palette1", 1, PNG_COLOR_TYPE_PALETTE, 2, 1, {0b01000000}, {10, 20, 30, 40, 50, 60}},
    {"palette2", 2, PNG_COLOR_TYPE_PALETTE, 2, 1, {0b11100000}, {100, 110, 120, 70, 80, 90}},
    {"palette4", 4, PNG_COLOR_TYPE_PALETTE, 2, 1, {0x12}, {40, 50, 60, 70, 80, 90}},
    {"palette8", 8, PNG_COLOR_TYPE_PALETTE, 2, 1, {3, 0}, {100, 110, 120, 10, 20, 30}},
    {"palette8_transparent",
     8,
     PNG_COLOR_TYPE_PALETTE,
     2,
     1,
     {0, 1},
     {10, 20, 30, 40, 50, 60},
     PNG_INTERLACE_NONE,
     true},
    {"interlaced", 8, PNG_COLOR_TYPE_RGB, 9, 5, test::gradient(9, 5).pixels, test::gradient(9, 5).pixels,
     PNG_INTERLACE_ADAM7},
};

TEST(Png, ReadsEveryKind) {
  for (const PngKind& kind : kKinds) {
    const Image image = decode_image(write_png(kind), kind.name);
    EXPECT_EQ(image.width, kind.width) << kind.name;
    EXPECT_EQ(image.height, kind.height) << kind.name;
    EXPECT_THAT(image.pixels, ElementsAreArray(kind.pixels)) << kind.name;
  }
}

TEST(Png, IsTurnedUpright) {
  const Image stored = test::letters("abc/def");
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (test::ByteOrder order : {test::ByteOrder::little, test::ByteOrder::big}) {
      PngKind kind{"turned", 8, PNG_COLOR_TYPE_RGB, 3, 2, stored.pixels, {}};
      kind.exif = test::exif_block(orientation, order);
      const Image image = decode_image(write_png(kind), kind.name);
      EXPECT_EQ(test::to_letters(image), test::kUprightLetters[static_cast<size_t>(orientation - 1)]) << orientation;
    }
  }
}

TEST(Png, BadOrientationsAreIgnored) {
  for (Bytes exif : {test::exif_block(0, test::ByteOrder::big), test::exif_block(9, test::ByteOrder::little),
                     Bytes{'M', 'M', 0, 42, 0xFF, 0xFF, 0xFF, 0xFF}, Bytes{'I', 'I', 42, 0}}) {
    PngKind kind{"odd", 8, PNG_COLOR_TYPE_RGB, 3, 2, test::letters("abc/def").pixels, {}};
    kind.exif = exif;
    EXPECT_EQ(test::to_letters(decode_image(write_png(kind), kind.name)), "abc/def");
  }
}

TEST(Png, RoundTrips) {
  for (const Image& image : {test::gradient(1, 1), test::gradient(50, 3), test::gradient(33, 70)}) {
    const Image back = decode_image(encode_image(image), "round");
    EXPECT_EQ(back.width, image.width);
    EXPECT_EQ(back.height, image.height);
    EXPECT_TRUE(back.pixels == image.pixels);
  }
}

TEST(Png, CutFilesAreRefused) {
  const Bytes bytes = encode_image(test::gradient(20, 9));
  test::expect_all_cuts_refused(bytes);
  EXPECT_THAT(test::image_refusal({bytes.data(), bytes.size() / 2}), HasSubstr("ends early"));
}

TEST(Png, DamagedPixelsAreRefused) {
  Bytes bytes = encode_image(test::gradient(20, 9));
  bytes[bytes.size() - 30] ^= 0x55;
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("broken"));
}

void set_size(Bytes& png, uint32_t width, uint32_t height) {
  for (size_t i = 0; i < 4; ++i) {
    png[16 + i] = static_cast<uint8_t>(width >> (24 - 8 * i));
    png[20 + i] = static_cast<uint8_t>(height >> (24 - 8 * i));
  }
}

TEST(Png, SizesAreCheckedBeforeMemoryIsTaken) {
  Bytes bytes = encode_image(test::gradient(4, 4));
  set_size(bytes, 100000, 100000);
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("100000 x 100000 px; at most 16384"));
  set_size(bytes, 1, 16385);
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("at most 16384"));
  set_size(bytes, 0, 5);
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("without pixels"));
  set_size(bytes, 16384, 1);  // allowed, but its checksum is wrong
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("broken"));
}

struct Input {
  const Bytes& bytes;
  size_t at = 0;
};

void take(png_structp png, png_bytep out, size_t count) {
  auto* in = static_cast<Input*>(png_get_io_ptr(png));
  std::copy_n(in->bytes.begin() + static_cast<int64_t>(in->at), count, out);
  in->at += count;
}

TEST(Png, KeepsText) {
  const PngText text = {
      {"prompt", "a sign \"OPEN\"\nat night"}, {"Comment", "黑白 ✓"}, {"empty", ""}, {"zero", std::string("a\0b", 3)}};
  const Bytes bytes = encode_png(test::gradient(3, 3), text, srgb_profile());
  Input input{bytes};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_read_fn(png, &input, take);
  png_read_info(png, info);
  png_textp entries = nullptr;
  ASSERT_EQ(png_get_text(png, info, &entries, nullptr), 4);
  EXPECT_STREQ(entries[0].key, "prompt");
  EXPECT_EQ(entries[0].text, text[0].second);
  EXPECT_EQ(entries[0].compression, PNG_TEXT_COMPRESSION_NONE);
  EXPECT_STREQ(entries[1].key, "Comment");
  EXPECT_EQ(entries[1].text, text[1].second);
  EXPECT_EQ(entries[1].compression, PNG_ITXT_COMPRESSION_NONE);
  EXPECT_STREQ(entries[2].text, "");
  EXPECT_STREQ(entries[3].text,
               "a\xEF\xBF\xBD"
               "b");
  png_destroy_read_struct(&png, &info, nullptr);
}

TEST(Png, RefusesBadKeys) {
  for (const char* key : {"", " a", "a ", "é", "a\nb"}) {
    EXPECT_THROW(encode_png(test::gradient(1, 1), {{key, "x"}}, {}), Error) << key;
  }
  EXPECT_THROW(encode_png(test::gradient(1, 1), {{std::string(80, 'k'), "x"}}, {}), Error);
}

}  // namespace
}  // namespace glmimage
