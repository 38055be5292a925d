#include <cstring>

#include "core/image_codecs.h"

namespace glmimage {
namespace {

// The whole numbers of a TIFF structure, in its own byte order. Reading past the end gives 0.
class TiffBytes {
 public:
  TiffBytes(std::span<const uint8_t> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}
  uint32_t u16(size_t at) const { return number(at, 2); }
  uint32_t u32(size_t at) const { return number(at, 4); }

 private:
  uint32_t number(size_t at, size_t count) const {
    if (at > bytes_.size() || bytes_.size() - at < count) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) value = value << 8 | bytes_[at + (big_endian_ ? i : count - 1 - i)];
    return value;
  }
  std::span<const uint8_t> bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(std::span<const uint8_t> exif) {
  constexpr uint32_t kOrientationTag = 0x0112, kShort = 3;
  if (exif.size() >= 6 && std::memcmp(exif.data(), "Exif\0\0", 6) == 0) exif = exif.subspan(6);
  if (exif.size() < 8) return 1;
  const bool big_endian = exif[0] == 'M';
  if (exif[0] != exif[1] || (exif[0] != 'M' && exif[0] != 'I')) return 1;
  const TiffBytes tiff(exif, big_endian);
  if (tiff.u16(2) != 42) return 1;
  const size_t directory = tiff.u32(4);
  const size_t entries = tiff.u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;  // tag, type, count, value
    if (tiff.u16(entry) != kOrientationTag || tiff.u16(entry + 2) != kShort) continue;
    const uint32_t value = tiff.u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

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
