#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "core/image.h"
#include "eval/templates.h"
#include "train/world/world.h"

namespace glmimage::eval {

// A picture as the recogniser sees it.
struct View {
  int64_t background = 0;     // into the world's colour table: the nearest to `background_rgb`
  at::Tensor background_rgb;  // (3) float32, 0..1: the median of the pixels that should be bare
  at::Tensor difference;      // (1, 3, 64, 64): the picture less that colour
};

// Where an object was seen best. Places are fractions of the picture's side.
struct Place {
  double x = 0, y = 0;
  double agreement = 0;
};

struct Naming {
  int64_t class_id = 0;  // of the object that agrees best; 0 when none reaches kSeen
  double agreement = 0;
};

// Names the background and the objects of pictures of the world by comparing them with what the world would paint.
//
// The measure is the agreement of two windows, d (picture less background) and t (what an object adds to that
// background): 2<d, t> / (|d|² + |t|²), 1 when they are equal, 0 for a bare or unrelated picture, below 0 for the
// reverse. Unlike a correlation it minds how strong a difference is, so that grey is told from black on white. Its
// maximum over shifts of up to kShift working pixels counts.
class Recogniser {
 public:
  static constexpr double kSeen = 0.4;  // below this agreement an object counts as not there
  static constexpr int64_t kShift = 2;  // of 64 pixels a side

  explicit Recogniser(const world::World& world) : world_(world) {}

  // `scene` tells which cells should be bare. The picture may have any size.
  View look(const Image& image, const world::Scene& scene) const;

  // The `count` places where this object agrees best, no two of them nearer to each other than three quarters of an
  // object in both directions, best first. Objects are looked for everywhere, at the size they should have.
  std::vector<Place> find(const View& view, int64_t class_id, int64_t object_size, size_t count);

  // Which of all objects agrees best at this place.
  Naming name(const View& view, const Place& place, int64_t object_size);

  const world::World& world() const { return world_; }

 private:
  const Templates& templates(int64_t object_size);

  world::World world_;
  std::map<int64_t, Templates> templates_;  // by size, made when first needed
};

}  // namespace glmimage::eval
