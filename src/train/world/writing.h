#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/world/world_tables.h"

namespace glmimage::train::world {

constexpr int64_t kMostLetters = 8;     // in one text
constexpr int64_t kMostCharacters = 2;  // Chinese ones

// The signs of a script, in the order of Writing::signs and GlyphSet::signs.
const std::u32string& signs_of(Script script);

// A text as signs.
struct Writing {
  Script script = Script::latin;
  std::vector<int64_t> signs;  // into signs_of(script)
};

// Errors: usage unless `text` is 1-8 of A-Z, a-z and 0-9, or one or two of chinese_signs().
Writing read_writing(const std::string& text);

}  // namespace glmimage::train::world
