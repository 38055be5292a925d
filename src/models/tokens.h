#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace glmimage {

// A picture measured in visual tokens. One token of the autoregressive model covers 32 x 32 pixels of the picture, one
// token of the diffusion transformer 16 x 16.
struct Grid {
  int64_t height = 0, width = 0;
  int64_t count() const { return height * width; }
  bool operator==(const Grid&) const = default;
};

constexpr int64_t kPixelsPerVisualToken = 32;
constexpr int64_t kPixelsPerDitToken = 16;

// Ids of the visual codebook, row-major over the grid: ids (B, grid.count()) int64, B pictures of one grid.
struct VisualTokens {
  Grid grid;
  at::Tensor ids;
};

// Nearest-neighbour doubling in both directions: 32-pixel tokens become the DiT's 16-pixel prior, (B, 4·count).
at::Tensor upsample_to_prior(const VisualTokens& tokens);

}  // namespace glmimage
