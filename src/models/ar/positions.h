#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/tokens.h"

namespace glmimage {

// Rope positions on the three axes, one entry per token; the three vectors are equally long.
struct PositionTable {
  std::vector<int64_t> temporal, height, width;

  int64_t size() const { return static_cast<int64_t>(temporal.size()); }
  void push(int64_t t, int64_t h, int64_t w);
  void append(const PositionTable& other);
  bool operator==(const PositionTable&) const = default;
};

// Where the tokens of one sequence stand. Cache slots are sequence indices; these are other numbers.
struct ArPositions {
  PositionTable prefill;  // one entry per prompt id
  PositionTable decode;   // the ids to be drawn in order, then one closing entry for the end id
};

// The ids that mark a picture within a prompt.
struct ImageMarkers {
  int64_t begin = 0, end = 0;
};

// Positions of a prompt and of what is drawn after it. `ids` are the valid (unpadded) prompt ids; `grids` lists the
// source pictures in the prompt, then the picture asked for, then (text-to-image) its draft. Text counts on all axes; a
// picture of h x w tokens keeps its temporal position, spreads over the other two and moves the count on by max(h, w).
// Grids that are not in the prompt are decoded from the last one backwards: draft first.
// Throws ErrorKind::usage when the prompt's pictures and the grids disagree.
// Source: transformers, GlmImageModel.get_rope_index.
ArPositions ar_positions(const std::vector<int64_t>& ids, const std::vector<Grid>& grids, const ImageMarkers& markers);

// (3, B, T) int64 on the CPU, T the longest row; shorter rows are padded on the right with 1.
at::Tensor positions_tensor(const std::vector<PositionTable>& rows);
at::Tensor positions_tensor(const PositionTable& row);  // (3, 1, T)

}  // namespace glmimage
