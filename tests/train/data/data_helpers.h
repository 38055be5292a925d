#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/encode_image.h"
#include "core/error.h"
#include "core/image.h"
#include "support/goldens.h"

// Pictures, captions and archives for the tests of train/data.
namespace glmimage::test {

// Every pixel tells its place, so that crops and mirrors can be checked: red is x, green is y, blue the picture's
// number.
inline Image placed(int64_t width, int64_t height, int number = 0) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<uint8_t>(x));
      image.pixels.push_back(static_cast<uint8_t>(y));
      image.pixels.push_back(static_cast<uint8_t>(number));
    }
  }
  return image;
}

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

inline std::string png_text(int64_t width, int64_t height, int number = 0) {
  const std::vector<uint8_t> bytes = encode_image(placed(width, height, number));
  return {bytes.begin(), bytes.end()};
}

// A picture with a caption file beside it (none where the caption is empty).
inline void write_pair(const std::filesystem::path& picture, int64_t width, int64_t height,
                       const std::string& caption = "a picture", int number = 0) {
  write_text(picture, png_text(width, height, number));
  if (!caption.empty()) write_text(std::filesystem::path(picture).replace_extension(".txt"), caption);
}

// The message of the ErrorKind::usage that an action ends in.
inline std::string usage_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

// A tar archive, member by member.
class Tar {
 public:
  // A ustar member; names longer than 100 bytes are split at the last slash that lets both parts fit.
  Tar& add(const std::string& name, const std::string& content, char kind = '0') {
    std::string tail = name, prefix;
    if (name.size() > 100) {
      const size_t slash = name.find('/', name.size() - 101);
      prefix = name.substr(0, slash), tail = name.substr(slash + 1);
    }
    header(tail, content.size(), kind, prefix);
    return data(content);
  }
  // GNU's way to a long name: a member of kind L before it.
  Tar& add_gnu(const std::string& name, const std::string& content) {
    header("././@LongLink", name.size() + 1, 'L', "", "ustar  ");
    data(name + '\0');
    header(name.substr(0, 100), content.size(), '0', "", "ustar  ");
    return data(content);
  }
  // POSIX's way: an extended header with path and size.
  Tar& add_pax(const std::string& name, const std::string& content) {
    add("PaxHeaders/x", record("path", name) + record("size", std::to_string(content.size())), 'x');
    header("short", content.size(), '0');
    return data(content);
  }
  Tar& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  std::string unfinished() const { return bytes_; }
  std::string finished() const { return bytes_ + std::string(1024, '\0'); }

  static std::string record(const std::string& key, const std::string& value) {
    const std::string rest = " " + key + "=" + value + "\n";
    size_t length = rest.size() + 1;
    while (std::to_string(length).size() + rest.size() != length) ++length;
    return std::to_string(length) + rest;
  }
  void header(const std::string& name, uint64_t size, char kind, const std::string& prefix = "",
              const std::string& magic = std::string("ustar\0"
                                                     "00",
                                                     8)) {
    char block[512] = {};
    std::memcpy(block, name.data(), name.size());
    std::snprintf(block + 100, 8, "%07o", 0644);
    std::snprintf(block + 124, 12, "%011llo", static_cast<unsigned long long>(size));
    block[156] = kind;
    std::memcpy(block + 257, magic.data(), magic.size());
    std::memcpy(block + 345, prefix.data(), prefix.size());
    std::memset(block + 148, ' ', 8);
    unsigned sum = 0;
    for (char c : block) sum += static_cast<uint8_t>(c);
    std::snprintf(block + 148, 8, "%06o", sum);
    bytes_.append(block, 512);
  }

 private:
  Tar& data(const std::string& content) {
    bytes_ += content;
    bytes_.append((512 - content.size() % 512) % 512, '\0');
    return *this;
  }
  std::string bytes_;
};

}  // namespace glmimage::test
