#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/image.h"

// Pictures and EXIF blocks for the tests of core/image.
namespace glmimage::test {

using Bytes = std::vector<uint8_t>;

// A smooth picture whose pixels all differ from their neighbours.
inline Image gradient(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<uint8_t>(x * 7));
      image.pixels.push_back(static_cast<uint8_t>(y * 11 + 3));
      image.pixels.push_back(static_cast<uint8_t>(200 - x - 2 * y));
    }
  }
  return image;
}

// A picture of one letter per pixel, rows separated by '/': all three channels hold the letter's code.
inline Image letters(const std::string& text) {
  Image image{0, 1, {}};
  for (char c : text) {
    if (c == '/') ++image.height;
    if (c != '/') image.pixels.insert(image.pixels.end(), 3, static_cast<uint8_t>(c));
  }
  image.width = static_cast<int64_t>(image.pixels.size()) / 3 / image.height;
  return image;
}

inline std::string to_letters(const Image& image) {
  std::string text;
  for (int64_t i = 0; i < image.width * image.height; ++i) {
    if (i > 0 && i % image.width == 0) text += '/';
    text += static_cast<char>(image.pixels[static_cast<size_t>(3 * i)]);
  }
  return text;
}

// "abc/def", stored with EXIF orientations 1 to 8, must look like this.
inline const std::vector<std::string> kUprightLetters = {"abc/def",  "cba/fed",  "fed/cba",  "def/abc",
                                                         "ad/be/cf", "da/eb/fc", "fc/eb/da", "cf/be/ad"};

enum class ByteOrder { little, big };

// A TIFF header and one directory of two entries: the camera's maker and the orientation.
inline Bytes exif_block(int orientation, ByteOrder order) {
  Bytes out = order == ByteOrder::big ? Bytes{'M', 'M'} : Bytes{'I', 'I'};
  const auto add = [&](uint32_t value, int count) {
    for (int i = 0; i < count; ++i) {
      out.push_back(static_cast<uint8_t>(value >> 8 * (order == ByteOrder::big ? count - 1 - i : i)));
    }
  };
  add(42, 2), add(8, 4), add(2, 2);
  add(0x010F, 2), add(2, 2), add(4, 4), add(0, 4);
  add(0x0112, 2), add(3, 2), add(1, 4), add(static_cast<uint32_t>(orientation), 2), add(0, 2);
  add(0, 4);
  return out;
}

// The low `count` bytes of a number, lowest first.
inline void append(Bytes& out, uint32_t value, int count) {
  for (int i = 0; i < count; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

// A chunk of a WebP file, padded to an even length.
inline Bytes chunk(const std::string& name, const Bytes& payload) {
  Bytes out(name.begin(), name.end());
  append(out, static_cast<uint32_t>(payload.size()), 4);
  out.insert(out.end(), payload.begin(), payload.end());
  if (payload.size() % 2 == 1) out.push_back(0);
  return out;
}

// What decode_image says about a picture called "cat"; fails the test unless it is an ErrorKind::usage that says so.
inline std::string image_refusal(std::span<const uint8_t> bytes) {
  try {
    decode_image(bytes, "cat");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
    EXPECT_EQ(std::string(e.what()).rfind("cat: ", 0), 0U) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "the picture was accepted";
  return "";
}

// Every beginning of the file must be refused.
inline void expect_all_cuts_refused(const Bytes& bytes) {
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(decode_image({bytes.data(), length}, "cut"), Error) << length << " of " << bytes.size() << " bytes";
  }
}

}  // namespace glmimage::test
