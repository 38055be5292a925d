#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/image.h"
#include "models/tokens.h"
#include "models/visual_tokenizer/config.h"

namespace glmimage {

struct PixelSize {
  int64_t height = 0, width = 0;
  bool operator==(const PixelSize&) const = default;
};

// The size at which the tower sees a picture: half of each side, after small pictures are enlarged to a short side of
// config.min_side() and large ones reduced to a long side of config.max_side(), rounded to whole patches (half to
// even). Throws ErrorKind::usage when a side is below one patch or the sides differ by more than 4 to 1. Reference:
// transformers 5.17.0, image_processing_glm_image.py, smart_resize.
PixelSize smart_resize(PixelSize picture, const PreprocessConfig& config);

// A picture cut into patches, row by row.
struct Patches {
  at::Tensor values;  // (grid.count(), 3·p·p) float32 on the CPU; each patch as (channel, y, x), normalised
  Grid grid;
};

// A picture whose sides are multiples of the patch size, as it is. Throws ErrorKind::usage for other sizes.
Patches cut_patches(const Image& picture, const PreprocessConfig& config);

// smart_resize, then cut_patches. Throws ErrorKind::usage as smart_resize does.
Patches preprocess(const Image& picture, const PreprocessConfig& config);

}  // namespace glmimage
