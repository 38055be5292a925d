#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "eval/recogniser.h"
#include "eval/scenes.h"
#include "eval/word_reader.h"

namespace glmimage::eval {

// One object of a scene. It is looked for in the whole picture; there every object of the world is compared.
struct ObjectResult {
  world::Object wanted;  // its centre and size: where the ground truth has it
  int64_t wanted_class = 0;
  Naming named;               // what agrees best at `place`
  bool form_right = false;    // of a shape: what was named is a shape of the same form, of whatever colour
  bool colour_right = false;  // of a shape: what was named is a shape of the same colour, of whatever form
  Place place;                // where the wanted object agrees best
  bool right() const { return named.class_id == wanted_class; }
  bool seen() const { return place.agreement >= Recogniser::kSeen; }
};

// Of two different objects: whether they lie to each other as the ground truth has them, on the axis that parts them
// more there.
struct RelationResult {
  size_t first = 0, second = 0;  // into PictureResult::objects
  const char* words = "";        // "left of"
  bool right = false;
};

// Of an object that the scene has more than once.
struct CountResult {
  int64_t class_id = 0, wanted = 0;
  int64_t counted = 0;  // places where it is the object that agrees best; at most one more than wanted
};

struct WordResult {
  std::string wanted, read;
  double distance = 1;  // normalised_edit_distance
};

// What a picture shows of its scene. What the prompt leaves open is not there.
struct PictureResult {
  std::optional<int64_t> background_wanted;  // into the colour table
  int64_t background_named = 0;
  std::vector<ObjectResult> objects;
  std::optional<bool> place_right;  // of a single object: within an eighth of the side of where the words put it
  std::vector<RelationResult> relations;
  std::vector<CountResult> counts;
  std::optional<WordResult> word;  // not there either when it cannot be read (no tesseract, no language data)

  bool all_right() const;
};

// What of a picture is looked at: each costs its own time.
struct Aspects {
  bool objects = true;  // names, places and relations
  bool counts = true;
  bool word = true;
};

// The judge of pictures.
class Checker {
 public:
  Checker(const world::World& world, std::optional<WordReader> reader)
      : recogniser_(world), reader_(std::move(reader)) {}

  // `image` has the world's size. Throws ErrorKind::io when words cannot be read, ErrorKind::cancelled.
  PictureResult check(const Image& image, const EvalScene& scene, const std::function<bool()>& cancelled = {},
                      const Aspects& aspects = {});

  const std::optional<WordReader>& reader() const { return reader_; }

 private:
  std::vector<ObjectResult> check_objects(const View& view, const world::Scene& scene);
  std::vector<CountResult> check_counts(const View& view, const world::Scene& scene);
  std::optional<WordResult> check_word(const Image& image, const View& view, const world::Scene& scene,
                                       const std::function<bool()>& cancelled) const;

  Recogniser recogniser_;
  std::optional<WordReader> reader_;
};

}  // namespace glmimage::eval
