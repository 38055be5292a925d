#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/image.h"

// The decoders behind decode_image. `bytes` begins with the format's signature. All return the picture upright and
// throw ErrorKind::usage for pictures that are broken, cut short or too large.
namespace glmimage {

Image decode_png(std::span<const uint8_t> bytes, const std::string& name);
Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name);
Image decode_webp(std::span<const uint8_t> bytes, const std::string& name);

// Called with the header's sizes, before any memory is asked for.
void check_image_size(const std::string& name, int64_t width, int64_t height);

// The orientation 1..8 in an EXIF block (a TIFF header, with or without "Exif\0\0" before it); 1 (upright) where it
// says none, or nothing that can be understood: a bad label is no reason to refuse a picture.
int exif_orientation(std::span<const uint8_t> exif);

// The picture turned and mirrored so that EXIF orientation `orientation` becomes 1.
Image upright(Image image, int orientation);

}  // namespace glmimage
