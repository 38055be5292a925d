#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "train/world/world.h"
#include "train/world/world_tables.h"

namespace glmimage::train::world {

inline const World& shared_world() {
  static const World world = World::open();
  return world;
}

inline bool chinese_font_is_here() { return std::filesystem::exists(WorldOptions{}.chinese_font); }

// Skips the test where the font is missing: only training with Chinese needs it (scripts/packages-dev.txt).
#define NEEDS_CHINESE_FONT() \
  if (!chinese_font_is_here()) GTEST_SKIP() << "the Debian package fonts-noto-cjk is not installed"

inline const World& chinese_world() {
  static const World world = World::open({.languages = Languages::english_and_chinese});
  return world;
}

inline int64_t class_named(const std::string& name) {
  const auto& names = class_names();
  return std::find(names.begin(), names.end(), name) - names.begin();
}

inline int64_t colour_named(const std::string& name) {
  const auto& table = colour_table();
  const auto named = [&](const Colour& colour) { return colour.name == name; };
  return std::find_if(table.begin(), table.end(), named) - table.begin();
}

inline bool is_background(const Image& image, int64_t x, int64_t y, int64_t background) {
  const auto& rgb = colour_table()[static_cast<size_t>(background)].rgb;
  return std::equal(rgb.begin(), rgb.end(), &image.pixels[static_cast<size_t>(3 * (y * image.width + x))]);
}

// Pixels that differ from the background.
inline int64_t foreground(const Image& image, int64_t background) {
  int64_t count = 0;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) count += is_background(image, x, y, background) ? 0 : 1;
  }
  return count;
}

inline uint64_t fingerprint(const std::vector<uint8_t>& bytes) {  // FNV-1a
  uint64_t hash = 14695981039346656037ULL;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211ULL;
  return hash;
}

}  // namespace glmimage::train::world
