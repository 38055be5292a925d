#pragma once

#include <cstdint>

#include "core/image.h"

namespace glmimage {

enum class Filter {
  bicubic,  // a = -0.5, support 2; what the vision tower is fed
  lanczos,  // 3 lobes; what the VAE is fed
};

// Resizes to `width` x `height` px, bit for bit as Pillow 13's Image.resize on 8-bit RGB: when shrinking the filter
// widens with the ratio; weights have 22 fraction bits; rows are filtered first and rounded to 8 bits, then columns,
// but the other way round when the height loses more than twice the pixels that the width loses; a side that keeps its
// length is not filtered. Throws ErrorKind::internal when a size is not positive.
// Source: Pillow, src/libImaging/Resample.c.
Image resize(const Image& image, int64_t width, int64_t height, Filter filter);

}  // namespace glmimage
