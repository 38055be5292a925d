#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "train/world/world.h"

namespace glmimage::eval {

namespace world = train::world;

// Pictures of every size are compared at this many pixels a side: an object is then about 32 pixels high, enough to
// tell all classes apart, and a search over the whole picture costs milliseconds.
constexpr int64_t kWorkingSide = 64;

// The picture at the working side, every pixel the mean of those it covers: (1, 3, 64, 64) float32, 0..1.
at::Tensor working_picture(const Image& image);

// How every object of the world looks at one size, cut out of its background: from the same painter that paints the
// ground truth, in the middle of a square window that holds the widest of them.
struct Templates {
  // `object_size` in pixels of the world's pictures (Object::size).
  static Templates make(const world::World& world, int64_t object_size);

  // What each object adds to a background of this colour, (3) -> (K, 3, P, P): colour - alpha · background.
  at::Tensor on(const at::Tensor& background) const;
  int64_t row_of(int64_t class_id) const;

  int64_t window = 0;              // P: a multiple of four, at most the working side
  std::vector<int64_t> class_ids;  // K: every class but the background and the text
  at::Tensor colour;               // (K, 3, P, P) premultiplied by alpha
  at::Tensor alpha;                // (K, 1, P, P)
};

}  // namespace glmimage::eval
