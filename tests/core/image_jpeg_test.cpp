#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
// jpeglib.h needs the above
#include <jpeglib.h>

#include <algorithm>

#include "core/image_helpers.h"

namespace glmimage {
namespace {

using test::Bytes;
using ::testing::HasSubstr;

constexpr int kTile = 16;  // JPEG pictures are made of tiles of one colour, to be known again

// Small pictures written by Pillow 13.0.0, in hexadecimal, and the FNV-1a hash of the pixels it reads back.
struct PillowPicture {
  const char* hex;
  int64_t width, height;
  uint64_t hash;
};

constexpr PillowPicture kSubsampled = {  // 4:2:0, quality 60
    "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e2931302e"
    "292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffdb0043010e0e0e131113261515264f352d354f4f4f4f"
    "4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4fffc00011080013001b03"
    "012200021101031101ffc400190000020301000000000000000000000000000502030604ffc4002110000104020202030000000000000000"
    "000100020411031205211391223151ffc4001801000301010000000000000000000000000405060307ffc400241100020103010901000000"
    "000000000000010200030411120506212223313271c151ffda000c03010002110311003f00ca458bad0a4da3c2deba5d9838f248a09c4381"
    "ad585ad6da3518e86f1805bde8ef98ba371a7a3499b61534749a3591e3e30f91971e269341cf7068bfced54ee5b87638b4cb16d346b1b88f"
    "605140546d27a009f5282d6e6ad45e504fa12a878d943e2161dfcdf27203779b95bafd78ce9ef5ab42139b7456b76247e7d931bb88aece58"
    "6718fb2315adb1d26ec63741d04212fb72726741a6784fffd9",
    27, 19, 0x1391ebd377d10bb5};

constexpr PillowPicture kCmyk = {  // with Adobe's marker
    "ffd8ffee000e41646f626500640000000000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e2931302e292d"
    "2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffc000140800070009044311004d11005911004b1100ffc400"
    "17000003010000000000000000000000000000010407ffc400271000010301040b0000000000000000000002000103050406115112152122"
    "233443529193d1ffda000e0443004d0059004b00003f0082e474d3b451e8d41002a9ccd1b9362c220e4efe191363088bde2e3405cbb06dd1"
    "c969cb4a53eb7badd96bf4b7d4b73242ffd9",
    9, 7, 0x6f53c9cbd4197aa};

Bytes from_hex(const std::string& hex) {
  Bytes out;
  for (size_t i = 0; i < hex.size(); i += 2)
    out.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

uint64_t fnv(const Bytes& bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint8_t b : bytes) hash = (hash ^ b) * 0x100000001b3;
  return hash;
}

enum class Scans { one, many };

struct JpegKind {
  J_COLOR_SPACE colour = JCS_RGB;
  int channels = 3;
  Scans scans = Scans::one;
  Bytes exif = {};  // without "Exif\0\0"
};

// Tiles of kTile x kTile px; `tiles` holds their channels, row by row. libjpeg ends the program on errors: none here.
Bytes write_jpeg(const Bytes& tiles, int columns, const JpegKind& kind) {
  const int rows = static_cast<int>(tiles.size()) / kind.channels / columns;
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(columns * kTile);
  info.image_height = static_cast<JDIMENSION>(rows * kTile);
  info.input_components = kind.channels;
  info.in_color_space = kind.colour;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (kind.scans == Scans::many) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (!kind.exif.empty()) {
    Bytes marker = {'E', 'x', 'i', 'f', 0, 0};
    marker.insert(marker.end(), kind.exif.begin(), kind.exif.end());
    jpeg_write_marker(&info, JPEG_APP0 + 1, marker.data(), static_cast<unsigned>(marker.size()));
  }
  Bytes row(static_cast<size_t>(columns * kTile * kind.channels));
  for (int y = 0; y < rows * kTile; ++y) {
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t tile = i / static_cast<size_t>(kTile * kind.channels),
                   channel = i % static_cast<size_t>(kind.channels);
      const size_t first = static_cast<size_t>(y / kTile * columns) + tile;
      row[i] = tiles[first * static_cast<size_t>(kind.channels) + channel];
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  Bytes out(memory, memory + size);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return out;
}

// The colours in the middle of each tile.
Bytes tile_colours(const Image& image) {
  Bytes out;
  for (int64_t y = kTile / 2; y < image.height; y += kTile) {
    for (int64_t x = kTile / 2; x < image.width; x += kTile) {
      const auto pixel = image.pixels.begin() + 3 * (y * image.width + x);
      out.insert(out.end(), pixel, pixel + 3);
    }
  }
  return out;
}

void expect_near(const Bytes& got, const Bytes& expected, int tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << "value " << i;
}

const Bytes kColours = {200, 30, 40, 20, 180, 60, 250, 250, 250, 0, 0, 0, 90, 100, 220, 128, 128, 128};

TEST(Jpeg, EqualsPillowBitForBit) {
  for (const PillowPicture& picture : {kSubsampled, kCmyk}) {
    const Image image = decode_image(from_hex(picture.hex), "cat");
    EXPECT_EQ(image.width, picture.width);
    EXPECT_EQ(image.height, picture.height);
    EXPECT_EQ(fnv(image.pixels), picture.hash);
  }
}

TEST(Jpeg, ReadsColour) {
  for (Scans scans : {Scans::one, Scans::many}) {
    const Image image = decode_image(write_jpeg(kColours, 3, {JCS_RGB, 3, scans}), "cat");
    EXPECT_EQ(image.width, 3 * kTile);
    EXPECT_EQ(image.height, 2 * kTile);
    expect_near(tile_colours(image), kColours, 4);
  }
}

TEST(Jpeg, ReadsGrey) {
  const Image image = decode_image(write_jpeg({5, 130, 250}, 3, {JCS_GRAYSCALE, 1}), "cat");
  expect_near(tile_colours(image), {5, 5, 5, 130, 130, 130, 250, 250, 250}, 2);
}

TEST(Jpeg, TakesCmykForInverted) {
  // No ink, full cyan, half black, and half black over full yellow.
  const Bytes inks = {255, 255, 255, 255, 0, 255, 255, 255, 255, 255, 255, 128, 255, 255, 0, 128};
  const Image image = decode_image(write_jpeg(inks, 4, {JCS_CMYK, 4}), "cat");
  expect_near(tile_colours(image), {255, 255, 255, 0, 255, 255, 128, 128, 128, 128, 128, 0}, 2);
}

TEST(Jpeg, IsTurnedUpright) {
  const std::string letters = "abcdef";
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (test::ByteOrder order : {test::ByteOrder::little, test::ByteOrder::big}) {
      Bytes tiles;
      for (char c : letters) tiles.push_back(static_cast<uint8_t>(20 + 40 * (c - 'a')));
      const JpegKind kind{JCS_GRAYSCALE, 1, Scans::one, test::exif_block(orientation, order)};
      Image image = decode_image(write_jpeg(tiles, 3, kind), "cat");
      Image small{image.width / kTile, image.height / kTile, tile_colours(image)};
      for (uint8_t& v : small.pixels) v = static_cast<uint8_t>('a' + v / 40);
      EXPECT_EQ(test::to_letters(small), test::kUprightLetters[static_cast<size_t>(orientation - 1)]) << orientation;
    }
  }
}

TEST(Jpeg, CutFilesAreRefused) {
  const Bytes bytes = from_hex(kSubsampled.hex);
  test::expect_all_cuts_refused(bytes);
  EXPECT_THAT(test::image_refusal({bytes.data(), bytes.size() - 60}), HasSubstr("ends early"));
  test::expect_all_cuts_refused(write_jpeg(kColours, 3, {JCS_RGB, 3, Scans::many}));
}

TEST(Jpeg, AnEarlyEndMarkerIsRefused) {
  Bytes bytes = from_hex(kSubsampled.hex);
  bytes.resize(bytes.size() - 60);
  bytes.insert(bytes.end(), {0xFF, 0xD9});
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("premature end"));
}

TEST(Jpeg, SizesAreCheckedBeforeMemoryIsTaken) {
  Bytes bytes = from_hex(kSubsampled.hex);
  const Bytes frame = {0xFF, 0xC0};
  const auto at = std::search(bytes.begin(), bytes.end(), frame.begin(), frame.end()) + 5;
  std::fill_n(at, 4, 0xFE);
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("65278 x 65278 px; at most 16384"));
  std::fill_n(at, 4, 0);
  EXPECT_THAT(test::image_refusal(bytes), HasSubstr("broken"));
}

}  // namespace
}  // namespace glmimage
