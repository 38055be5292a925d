#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/image.h"

namespace glmimage {

enum class PictureFormat { png, jpeg, webp };

// "png", "jpeg" (or "jpg"), "webp", in any case. Throws ErrorKind::usage for another text.
PictureFormat parse_picture_format(const std::string& text);
// The same by a file's suffix.
PictureFormat picture_format_of(const std::filesystem::path& file);
const char* picture_format_name(PictureFormat format);  // "png", "jpeg", "webp"
const char* media_type_of(PictureFormat format);        // "image/png", …

// What a picture says about itself beside its pixels; UTF-8, empty: nothing is said. Where each goes is told in
// docs/pictures.md.
struct PictureMetadata {
  std::string parameters = {};           // the recipe for readers: the text that Stable Diffusion's web UI writes
  std::string recipe = {};               // the recipe for this program: JSON
  std::string aigc_label = {};           // the label of generated pictures: JSON
  std::string digital_source_type = {};  // of IPTC: a URI
  std::string creator_tool = {};         // the program's name and version

  bool empty() const;
  bool operator==(const PictureMetadata&) const = default;
};

// Of the quality that is taken when none is named.
inline constexpr int kDefaultQuality = 90;

struct EncodeOptions {
  PictureFormat format = PictureFormat::png;
  int quality = kDefaultQuality;  // of JPEG and WebP, 0 to 100; WebP at 100 keeps every pixel
  PictureMetadata metadata = {};
};

// The bytes of a file with the picture, an sRGB profile and the metadata. The same arguments give the same bytes.
// Throws ErrorKind::usage when the format has no room for so large a picture or the quality is out of range,
// ErrorKind::internal when the picture is empty or its pixels do not fit its size.
std::vector<uint8_t> encode_image(const Image& image, const EncodeOptions& options = {});

// Writes encode_image to `<file>.part`, syncs and renames it. Throws also ErrorKind::io when the folder or the disk
// refuses; nothing is left behind then, and an older file stays as it was.
void save_image(const std::filesystem::path& file, const Image& image, const EncodeOptions& options = {});

}  // namespace glmimage
