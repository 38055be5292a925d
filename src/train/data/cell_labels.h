#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace glmimage::train {

constexpr int64_t kNothing = -100;  // no label: what cross_entropy_loss leaves out

// Where a cell lies in its object: the distance of their centres in half cells, down and right, at most 3 either way.
constexpr int64_t kPartSteps = 7;
inline int64_t part_of(double down, double right) {
  const auto step = [](double cells) { return std::clamp<int64_t>(std::llround(2 * cells) + 3, 0, kPartSteps - 1); };
  return step(down) * kPartSteps + step(right);
}

// What each cell of a picture shows, row by row, for sources that know it (Source::label_cells).
struct CellLabels {
  std::vector<int64_t> shown;        // what covers the cell: 0 for bare background
  std::vector<int64_t> parts;        // where in its object the cell lies (part_of), or kNothing
  std::vector<int64_t> backgrounds;  // the background's colour in cells that show nothing else, or kNothing
};

}  // namespace glmimage::train
