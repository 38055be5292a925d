#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace glmimage {

// 8-bit RGB, row by row from the top left.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;  // (height, width, 3)
};

// The longest side that is read: 16,384 px, so at most 2^28 pixels (768 MiB). Headers are held to it before any memory
// is asked for.
inline constexpr int64_t kMaxImageSide = 16384;

// Reads a PNG, JPEG or WebP picture, told apart by its first bytes, and turns it upright (EXIF orientation).
// Pixels are those of Pillow's convert("RGB"): grey is repeated, palettes are looked up, 16 bits keep their high byte,
// alpha is dropped and not blended, CMYK is taken to be inverted as Adobe writes it; of an animation the first frame.
// Throws ErrorKind::usage naming the file when it cannot be read, is no such picture, is cut short or broken, or has a
// side of 0 or more than kMaxImageSide pixels.
Image load_image(const std::filesystem::path& file);
// The same for a file in memory; `name` stands for the file in messages.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);

// The bytes of such a file, at most 1 GiB. Throws ErrorKind::usage naming it.
std::vector<uint8_t> read_picture_file(const std::filesystem::path& file);

// The rectangle of `width` x `height` px whose top left corner is at (x, y). Throws ErrorKind::internal when it is
// empty or reaches outside the picture.
Image crop(const Image& image, int64_t x, int64_t y, int64_t width, int64_t height);

// A copy as a CPU tensor: uint8 (H, W, 3).
at::Tensor to_tensor(const Image& image);
// The reverse, from any device: uint8 (H, W, 3). Throws ErrorKind::internal for another dtype or shape.
Image from_tensor(const at::Tensor& pixels);
// From network output: floating (3, H, W) or (1, 3, H, W) on any device, nominally 0..1. Clamped, times 255 in float32,
// rounded half to even, as diffusers' VaeImageProcessor does. Throws ErrorKind::internal for another shape and when a
// value is not a number (NaN).
Image from_unit_tensor(const at::Tensor& values);

}  // namespace glmimage
