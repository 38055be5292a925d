#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/check.h"

namespace glmimage::eval {

struct Tally {
  int64_t right = 0, of = 0;
  void add(bool is_right) { right += is_right ? 1 : 0, ++of; }
};

// What many pictures add up to.
struct Totals {
  Tally background, emoji, shape, shape_form, shape_colour, place, relation, count, word;
  Tally picture;             // everything right that its prompt says
  double edit_distance = 0;  // sum over the words

  void add(const PictureResult& result);
  double mean_edit_distance() const { return word.of ? edit_distance / static_cast<double>(word.of) : 0; }
  nlohmann::json to_json() const;
};

// The tallies with their names: one list for JSON, the table and the contact sheet.
struct Measure {
  const char* key;    // in JSON
  const char* title;  // for people
  Tally Totals::*tally;
};
const std::vector<Measure>& measures();

// The three pictures of a scene that are judged alike.
template <typename T>
struct Triple {
  T drawn;  // by the model, from the prompt
  T truth;  // by the world's painter
  T vae;    // the truth through the checkpoint's VAE and back: no picture of this model can be sharper
};

// A line for each measure that anything was counted for: title and three columns.
std::vector<std::vector<std::string>> table_rows(const Triple<Totals>& totals);
// The same as text in columns, with a heading.
std::string table_text(const Triple<Totals>& totals);

// What was found in one picture.
nlohmann::json to_json(const PictureResult& result);

// The same in words, one mark for each thing that was judged.
struct Mark {
  bool right = false;
  std::string says;  // "red apple", "red apple: looks like cherries", "reads HELL, not HELLO"
};
std::vector<Mark> marks(const PictureResult& result);

}  // namespace glmimage::eval
