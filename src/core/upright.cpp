#include <cstring>

#include "core/image_codecs.h"

namespace glmimage {

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool transposed = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  // A step along the stored row and column, in bytes, and the stored pixel that becomes the top left one.
  const int64_t across = from_right ? -3 : 3, row_bytes = 3 * image.width;
  const int64_t down = from_bottom ? -row_bytes : row_bytes;
  const uint8_t* first = image.pixels.data();
  if (from_right) first += row_bytes - 3;
  if (from_bottom) first += (image.height - 1) * row_bytes;

  Image turned{image.width, image.height, std::vector<uint8_t>(image.pixels.size())};
  if (transposed) std::swap(turned.width, turned.height);
  const int64_t step_x = transposed ? down : across, step_y = transposed ? across : down;
  uint8_t* out = turned.pixels.data();
  for (int64_t y = 0; y < turned.height; ++y) {
    for (int64_t x = 0; x < turned.width; ++x, out += 3) std::memcpy(out, first + y * step_y + x * step_x, 3);
  }
  return turned;
}

}  // namespace glmimage
