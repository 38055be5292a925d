#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/image.h"
#include "core/picture_metadata.h"
#include "core/xmp.h"

// The decoders behind decode_image and the encoders behind encode_image. `bytes` begins with the format's signature.
// All return the picture upright and throw ErrorKind::usage for pictures that are broken, cut short or too large.
namespace glmimage {

Image decode_png(std::span<const uint8_t> bytes, const std::string& name);
Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name);
Image decode_webp(std::span<const uint8_t> bytes, const std::string& name);

// By the first bytes. Throws ErrorKind::usage that says what the file looks like.
PictureFormat detect_picture_format(std::span<const uint8_t> bytes, const std::string& name);

// Called with the header's sizes, before any memory is asked for.
void check_image_size(const std::string& name, int64_t width, int64_t height);

// The picture turned and mirrored so that EXIF orientation `orientation` becomes 1.
Image upright(Image image, int orientation);

// Sides the formats have room for.
inline constexpr int64_t kMostPngSide = 1'000'000, kMostJpegSide = 65'500, kMostWebpSide = 16'383;

// Keys of the text chunks of PNG files that say what a picture is.
inline constexpr const char* kPngParameters = "parameters";
inline constexpr const char* kPngRecipe = "glm-image";
inline constexpr const char* kPngLabel = "AIGC";
inline constexpr const char* kPngXmp = "XML:com.adobe.xmp";

// Keys and values to be kept in a PNG file. Keys: 1 to 79 printable ASCII characters; values: UTF-8.
using PngText = std::vector<std::pair<std::string, std::string>>;

// What is written beside the pixels of the other formats.
struct Sections {
  std::vector<uint8_t> profile;  // ICC
  std::vector<uint8_t> exif;     // without "Exif\0\0"; empty: none
  XmpFields xmp;
};

// 8-bit RGB pictures of at least one pixel whose pixels fit their size. ASCII values become tEXt chunks, others, and
// XMP packets, iTXt. Throws ErrorKind::internal for a key that is not allowed.
std::vector<uint8_t> encode_png(const Image& image, const PngText& text, const std::vector<uint8_t>& profile);
// An XMP packet too long for one segment is split as XMP's part 3 says; an EXIF block too long for one is left out.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality, const Sections& sections);
std::vector<uint8_t> encode_webp(const Image& image, int quality, const Sections& sections);

// What an EXIF block and an XMP packet say is added where nothing was said before; faults are noted.
void add_exif(std::span<const uint8_t> exif, FoundMetadata& found);
void add_xmp(const XmpFields& fields, FoundMetadata& found);
// read_xmp with its error as a fault.
XmpFields try_xmp(std::string_view packet, FoundMetadata& found);

// The readers behind read_metadata. `found.format` is set; the rest is to be filled.
void read_png_metadata(std::span<const uint8_t> bytes, FoundMetadata& found);
void read_jpeg_metadata(std::span<const uint8_t> bytes, FoundMetadata& found);
void read_webp_metadata(std::span<const uint8_t> bytes, FoundMetadata& found);

}  // namespace glmimage
