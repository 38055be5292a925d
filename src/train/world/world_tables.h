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
  const char* chinese;
};

struct Emoji {
  char32_t code_point;
  const char* name;     // with its article: "a red apple", "an umbrella", "grapes"
  const char* alias;    // another usual name, or nullptr
  const char* plural;   // "red apples", or nullptr for what is not counted ("grapes")
  const char* chinese;  // after its measure word, which is one character: "个红苹果"
};

enum class ShapeForm { circle, square, triangle, star, diamond, heart, cross, ring };

struct Shape {
  ShapeForm form;
  const char* name;  // "circle"
  const char* chinese;
};

// What a text is written in: Latin letters and digits, or Chinese characters.
enum class Script { latin, chinese };

const std::vector<Colour>& colour_table();
const std::vector<Emoji>& emoji_table();
const std::vector<Shape>& shape_table();
const std::vector<const char*>& word_table();          // 2-8 capitals each
const std::u32string& chinese_signs();                 // the 200 characters that are written
const std::vector<const char*>& chinese_word_table();  // two of them each

// How a script is written, in pixels of a picture kBaseSize wide; both grow with the picture. Every sign has a cell of
// its own, as wide as one of the transformer's patches (16) or two, and a word begins where a patch begins: so a patch
// shows one sign, always in the same place.
struct Lettering {
  int64_t font_size;  // per em
  int64_t cell;       // from one sign to the next
};
Lettering lettering_of(Script script);

constexpr int64_t kBaseSize = 128;
constexpr int64_t kPatchSize = 16;   // of the transformer, in a picture of kBaseSize
constexpr int64_t kObjectSize = 64;  // an object's height in a picture of kBaseSize
constexpr int64_t kWhite = 6;        // in colour_table()
constexpr int64_t kBlack = 7;

}  // namespace glmimage::train::world
