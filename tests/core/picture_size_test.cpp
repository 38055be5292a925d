#include "core/picture_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <webp/encode.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
// jpeglib.h needs the above
#include <jpeglib.h>

#include <cstring>

#include "core/encode_image.h"
#include "core/image_helpers.h"

namespace glmimage {
namespace {

using test::append;
using test::Bytes;
using test::chunk;
using ::testing::HasSubstr;

// A segment before the picture: EXIF, or filling.
struct Segment {
  int marker;
  Bytes payload;
};

Bytes jpeg(const Image& image, const std::vector<Segment>& segments = {}, bool progressive = false) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (const Segment& segment : segments) {
    jpeg_write_marker(&info, segment.marker, segment.payload.data(), static_cast<unsigned>(segment.payload.size()));
  }
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(image.pixels.data()) + 3 * info.next_scanline * info.image_width;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  Bytes bytes(out, out + size);
  jpeg_destroy_compress(&info);
  std::free(out);
  return bytes;
}

Bytes exif_payload(int orientation) {
  Bytes payload = {'E', 'x', 'i', 'f', 0, 0};
  const Bytes block = test::exif_block(orientation, test::ByteOrder::big);
  payload.insert(payload.end(), block.begin(), block.end());
  return payload;
}

Bytes webp(const Image& image) {
  uint8_t* out = nullptr;
  const size_t size = WebPEncodeLosslessRGB(image.pixels.data(), static_cast<int>(image.width),
                                            static_cast<int>(image.height), static_cast<int>(3 * image.width), &out);
  Bytes bytes(out, out + size);
  WebPFree(out);
  return bytes;
}

// An extended WebP file with an ICC profile before the picture and EXIF after it.
Bytes turned_webp(const Image& image, int orientation) {
  Bytes header{8 | 32, 0, 0, 0};
  append(header, static_cast<uint32_t>(image.width - 1), 3);
  append(header, static_cast<uint32_t>(image.height - 1), 3);
  const Bytes simple = webp(image);
  Bytes payload{'W', 'E', 'B', 'P'};
  for (const Bytes& part : {chunk("VP8X", header), chunk("ICCP", Bytes(9001)), Bytes(simple.begin() + 12, simple.end()),
                            chunk("EXIF", test::exif_block(orientation, test::ByteOrder::little))}) {
    payload.insert(payload.end(), part.begin(), part.end());
  }
  return chunk("RIFF", payload);
}

Bytes exif_chunk(int orientation) {
  const Bytes exif = test::exif_block(orientation, test::ByteOrder::big);
  Bytes out = {0, 0, 0, static_cast<uint8_t>(exif.size()), 'e', 'X', 'I', 'f'};
  out.insert(out.end(), exif.begin(), exif.end());
  const uint32_t checksum = static_cast<uint32_t>(crc32(0, out.data() + 4, static_cast<uInt>(out.size() - 4)));
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(checksum >> shift));
  return out;
}

// Puts chunks behind a PNG's IHDR, in the order given.
Bytes with_chunks(const Image& image, const std::vector<Bytes>& chunks) {
  Bytes bytes = encode_image(image);
  int64_t at = 33;
  for (const Bytes& extra : chunks) {
    bytes.insert(bytes.begin() + at, extra.begin(), extra.end());
    at += static_cast<int64_t>(extra.size());
  }
  return bytes;
}

Bytes turned_png(const Image& image, int orientation) { return with_chunks(image, {exif_chunk(orientation)}); }

void expect_size(const Bytes& bytes, PictureSize size) {
  EXPECT_EQ(picture_size(bytes, "cat"), size);
  const Image decoded = decode_image(bytes, "cat");
  EXPECT_EQ((PictureSize{decoded.width, decoded.height}), size);
}

TEST(PictureSize, OfEveryFormat) {
  for (const Image& image : {test::gradient(1, 1), test::gradient(37, 21), test::gradient(300, 2)}) {
    const PictureSize size{image.width, image.height};
    EXPECT_EQ(picture_size(encode_image(image), "png"), size);
    EXPECT_EQ(picture_size(jpeg(image), "jpeg"), size);
    EXPECT_EQ(picture_size(jpeg(image, {}, true), "progressive"), size);
    EXPECT_EQ(picture_size(webp(image), "webp"), size);
  }
}

TEST(PictureSize, AnEmptyExifChunkTurnsNothing) {
  Bytes bytes = encode_image(test::gradient(9, 7));
  const Bytes empty = {0, 0, 0, 0, 'e', 'X', 'I', 'f', 0, 0, 0, 0};
  bytes.insert(bytes.begin() + 33, empty.begin(), empty.end());
  EXPECT_EQ(picture_size(bytes, "png"), (PictureSize{9, 7}));
  bytes.resize(33 + 8);  // and where the file ends with it
  EXPECT_EQ(picture_size(bytes, "png"), (PictureSize{9, 7}));
}

// The header and the pixels are read by two readers: what one leaves out the other must not count.
TEST(PictureSize, AnExifChunkCountsForBothReadersOrForNone) {
  const Image image = test::gradient(30, 20);
  const PictureSize stored{30, 20}, turned{20, 30};
  Bytes damaged = exif_chunk(6);
  damaged.back() ^= 1;
  expect_size(with_chunks(image, {damaged}), stored);
  expect_size(with_chunks(image, {damaged, exif_chunk(6)}), turned);
  expect_size(with_chunks(image, {exif_chunk(3), exif_chunk(6)}), stored);
  Bytes other = exif_chunk(6);
  other[8] = 'I';  // the byte order of the letters no longer fits
  expect_size(with_chunks(image, {other}), stored);
  Bytes behind = encode_image(image);
  const Bytes late = exif_chunk(6);
  behind.insert(behind.end() - 12, late.begin(), late.end());  // before IEND
  expect_size(behind, stored);
}

TEST(PictureSize, IsThatOfTheUprightPicture) {
  const Image image = test::gradient(30, 20);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const PictureSize size = orientation >= 5 ? PictureSize{20, 30} : PictureSize{30, 20};
    expect_size(turned_png(image, orientation), size);
    const Bytes plain = jpeg(image, {{JPEG_APP0 + 1, exif_payload(orientation)}});
    EXPECT_EQ(picture_size(plain, "jpeg"), size) << orientation;
    const Image decoded = decode_image(plain, "jpeg");
    EXPECT_EQ((PictureSize{decoded.width, decoded.height}), size);
    const Bytes turned = turned_webp(image, orientation);
    EXPECT_EQ(picture_size(turned, "webp"), size) << orientation;
    const Image upright = decode_image(turned, "webp");
    EXPECT_EQ((PictureSize{upright.width, upright.height}), size);
  }
}

TEST(PictureSize, LongHeadersAreSteppedOver) {
  const Image image = test::gradient(30, 20);
  const std::vector<Segment> profile(40, {JPEG_APP0 + 2, Bytes(65000, 0xFF)});
  const Bytes bytes = jpeg(image, profile);
  size_t read = 0;
  const ReadAt count = [&](uint64_t offset, std::span<uint8_t> out) {
    const size_t n = std::min<size_t>(out.size(), bytes.size() - std::min<size_t>(bytes.size(), offset));
    std::memcpy(out.data(), bytes.data() + offset, n);
    return read += n, n;
  };
  EXPECT_EQ(picture_size(count, "jpeg"), (PictureSize{30, 20}));
  EXPECT_LT(read, bytes.size() / 10);
}

TEST(PictureSize, LargeSizesAreReported) {
  Bytes bytes = encode_image(test::gradient(4, 4));
  bytes[18] = 0x4E, bytes[19] = 0x20;
  EXPECT_EQ(picture_size(bytes, "png"), (PictureSize{20000, 4}));
}

std::string refusal(const Bytes& bytes) {
  try {
    picture_size(bytes, "cat");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  ADD_FAILURE() << "the picture was accepted";
  return "";
}

TEST(PictureSize, RefusesWhatHasNone) {
  EXPECT_THAT(refusal({}), HasSubstr("cat: this picture is an empty file"));
  EXPECT_THAT(refusal({'G', 'I', 'F', '8', '9', 'a'}), HasSubstr("a GIF picture"));
  Bytes png = encode_image(test::gradient(4, 4));
  EXPECT_THAT(refusal({png.begin(), png.begin() + 20}), HasSubstr("its header ends early"));
  png[12] = 'X';
  EXPECT_THAT(refusal(png), HasSubstr("begins with the chunk IHDR"));
  png = encode_image(test::gradient(4, 4));
  png[19] = 0;
  EXPECT_THAT(refusal(png), HasSubstr("without pixels"));
  EXPECT_THAT(refusal({0xFF, 0xD8, 0xFF, 0xE0, 0, 1}), HasSubstr("has no length"));
  EXPECT_THAT(refusal({0xFF, 0xD8, 0xFF, 0xD9}), HasSubstr("no frame header"));
  Bytes strays(200000, 'x');
  strays[0] = 0xFF, strays[1] = 0xD8, strays[2] = 0xFF, strays[3] = 0;
  EXPECT_THAT(refusal(strays), HasSubstr("no frame header"));
  Bytes nonsense = webp(test::gradient(4, 4));
  nonsense[20] ^= 0xFF;
  EXPECT_THAT(refusal(nonsense), HasSubstr("makes no sense"));
}

// No beginning of a file, and no file with a flipped byte, does harm.
TEST(PictureSize, HostileHeadersDoNoHarm) {
  const Image image = test::gradient(20, 9);
  for (const Bytes& whole :
       {encode_image(image), jpeg(image, {{JPEG_APP0 + 1, exif_payload(6)}}), turned_webp(image, 6)}) {
    for (size_t i = 0; i < std::min<size_t>(whole.size(), 700); ++i) {
      Bytes flipped = whole;
      flipped[i] ^= 0xA5;
      for (const Bytes& bytes : {Bytes(whole.begin(), whole.begin() + static_cast<int64_t>(i)), flipped}) {
        try {
          const PictureSize size = picture_size(bytes, "cat");
          EXPECT_GT(size.width * size.height, 0);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::usage);
        }
      }
    }
  }
}

}  // namespace
}  // namespace glmimage
