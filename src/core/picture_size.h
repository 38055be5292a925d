#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace glmimage {

struct PictureSize {
  int64_t width = 0, height = 0;  // pixels
  bool operator==(const PictureSize&) const = default;
};

// Copies bytes from `offset` on to `out` and returns how many there were; fewer than asked only at the end.
using ReadAt = std::function<size_t(uint64_t offset, std::span<uint8_t> out)>;

// The size a PNG, JPEG or WebP picture will have once decode_image has turned it upright, from its header alone: a few
// kilobytes are read, no pixel is decoded. Sizes above kMaxImageSide are reported, not refused; that is the caller's
// decision. How a PNG file says it is turned: see png_orientation.
// Throws ErrorKind::usage naming the picture when it is of another format or its header is cut short or broken.
PictureSize picture_size(const ReadAt& read, const std::string& name);
// The same for a file (or its beginning) in memory.
PictureSize picture_size(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace glmimage
