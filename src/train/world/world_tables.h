#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

// What the world is made of, as data.
namespace glmimage::train::world {

struct Colour {
  const char* name;
  std::array<uint8_t, 3> rgb;
};

struct Emoji {
  char32_t code_point;
  const char* name;   // with its article: "a red apple", "an umbrella", "grapes"
  const char* alias;  // another usual name, or nullptr
};

enum class ShapeForm { circle, square, triangle, star, diamond };

struct Shape {
  ShapeForm form;
  const char* name;  // "circle"
};

const std::vector<Colour>& colour_table();
const std::vector<Emoji>& emoji_table();
const std::vector<Shape>& shape_table();
const std::vector<const char*>& word_table();  // 2-6 capitals each

// Font sizes for a picture 128 pixels high; they grow with the picture.
const std::vector<int64_t>& text_sizes();

constexpr int64_t kBaseSize = 128;
constexpr int64_t kObjectSize = 64;  // an object's height in a picture of kBaseSize
constexpr int64_t kShapeColours = 8;
constexpr int64_t kWhite = 6;  // in colour_table()
constexpr int64_t kBlack = 7;

}  // namespace glmimage::train::world
