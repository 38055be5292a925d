#pragma once

#include <cstdint>
#include <vector>

namespace glmimage {

// 8-bit RGB, row by row from the top left.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;  // (height, width, 3)
};

}  // namespace glmimage
