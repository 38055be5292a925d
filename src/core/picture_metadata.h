#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/encode_image.h"

namespace glmimage {

// What was found in a picture's file.
struct FoundMetadata {
  PictureFormat format = PictureFormat::png;
  PictureMetadata metadata = {};         // as the file has it: not to be trusted, not surely UTF-8
  std::vector<std::string> faults = {};  // what could not be read, in words; the rest still counts
};

// Reads what encode_image writes, and the same fields of other programs' pictures. No pixel is kept. Throws
// ErrorKind::usage naming the picture when it is no PNG, JPEG or WebP file; parts of it that are broken become faults.
FoundMetadata read_metadata(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace glmimage
