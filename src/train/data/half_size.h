#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/image.h"
#include "models/tokens.h"
#include "models/visual_tokenizer/config.h"

namespace glmimage::train {

// Pictures as the visual tokenizer sees them when they are to become `grid`: resized to grid x patch pixels (half of
// the picture for its own grid, less for a draft) and cut into patches: (B, grid.count(), 3·p·p) float32.
at::Tensor half_size_patches(const std::vector<Image>& images, Grid grid, const PreprocessConfig& config);

// Pictures as the VAE sees them: (B, 3, H, W) float32, -1..1.
at::Tensor vae_pixels(const std::vector<Image>& images);

// Rows of a square position table of `side` for the cells of a grid, each at its stretched place: (grid.count()) int64.
at::Tensor position_ids(Grid grid, int64_t side);

}  // namespace glmimage::train
