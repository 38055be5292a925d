#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/picture_size.h"

namespace glmimage {

// EXIF blocks: a TIFF header and its directories, with or without "Exif\0\0" before it. What others wrote is hostile:
// nothing outside the block is read, and what cannot be understood is passed over. Source: CIPA DC-008 (Exif 2.32).

// The orientation 1..8; 1 (upright) where the block says none, or nothing that can be understood: a bad label is no
// reason to refuse a picture.
int exif_orientation(std::span<const uint8_t> exif);

// UTF-8; empty: not there.
struct ExifTexts {
  std::string description;   // ImageDescription; the standard wants ASCII, everybody writes UTF-8
  std::string software;      // Software
  std::string user_comment;  // UserComment
  bool operator==(const ExifTexts&) const = default;
};

// A block without "Exif\0\0" that says these texts, what the standard asks for, and that colours are sRGB. The comment
// is kept as ASCII where it is, else as UTF-16, which holds all of Unicode; bytes that are no UTF-8 become U+FFFD.
std::vector<uint8_t> write_exif(const ExifTexts& texts, PictureSize size);

// What a block says, as it says it (not surely UTF-8). Each text is at most 16 MiB.
ExifTexts read_exif(std::span<const uint8_t> exif);

// The label of generated pictures in the form a user comment has it, {"AIGC":{…}}, and back: empty when the comment is
// nothing like it.
std::string aigc_comment(const std::string& label);
std::string label_in_comment(const std::string& comment);

}  // namespace glmimage
