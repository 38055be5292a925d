#include "core/encode_image.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/exif.h"
#include "core/image_codecs.h"
#include "core/part_file.h"
#include "core/srgb_profile.h"
#include "core/xmp.h"

namespace glmimage {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

void check(const Image& image, const EncodeOptions& options) {
  const size_t row_bytes = 3 * static_cast<size_t>(image.width);
  if (image.width <= 0 || image.height <= 0 || image.pixels.size() != row_bytes * static_cast<size_t>(image.height)) {
    fail(ErrorKind::internal, "a picture of ", image.width, " x ", image.height, " px with ", image.pixels.size(),
         " bytes cannot be written");
  }
  if (options.quality < 0 || options.quality > 100) {
    fail(ErrorKind::usage, "the quality must be between 0 and 100, not ", options.quality);
  }
  const int64_t most = options.format == PictureFormat::png    ? kMostPngSide
                       : options.format == PictureFormat::jpeg ? kMostJpegSide
                                                               : kMostWebpSide;
  if (image.width > most || image.height > most) {
    fail(ErrorKind::usage, "a picture of ", image.width, " x ", image.height, " px does not fit into ",
         picture_format_name(options.format), ", which has room for ", most, " px a side");
  }
}

// PNG has chunks of its own for texts, so the XMP packet repeats only the labels.
PngText png_text(const PictureMetadata& metadata) {
  PngText out;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) out.emplace_back(key, value);
  };
  add(kPngParameters, metadata.parameters);
  add(kPngRecipe, metadata.recipe);
  add(kPngLabel, metadata.aigc_label);
  add(kPngXmp, write_xmp({.creator_tool = metadata.creator_tool,
                          .digital_source_type = metadata.digital_source_type,
                          .aigc_label = metadata.aigc_label}));
  return out;
}

// The user comment is the label's where there is one; the readers' recipe then goes into the description.
ExifTexts exif_texts(const PictureMetadata& metadata) {
  ExifTexts out{.description = {}, .software = metadata.creator_tool, .user_comment = metadata.parameters};
  if (!metadata.aigc_label.empty()) {
    out.description = metadata.parameters;
    out.user_comment = aigc_comment(metadata.aigc_label);
  }
  return out;
}

XmpFields xmp_fields(const PictureMetadata& metadata) {
  return {.creator_tool = metadata.creator_tool,
          .digital_source_type = metadata.digital_source_type,
          .aigc_label = metadata.aigc_label,
          .recipe = metadata.recipe};
}

}  // namespace

bool PictureMetadata::empty() const { return *this == PictureMetadata{}; }

PictureFormat parse_picture_format(const std::string& text) {
  const std::string name = lower(text);
  if (name == "png") return PictureFormat::png;
  if (name == "jpeg" || name == "jpg") return PictureFormat::jpeg;
  if (name == "webp") return PictureFormat::webp;
  fail(ErrorKind::usage, "pictures are written as png, jpeg or webp, not as '", text, "'");
}

PictureFormat picture_format_of(const std::filesystem::path& file) {
  const std::string suffix = file.extension().string();
  if (suffix.size() < 2) {
    fail(ErrorKind::usage, file.string(), ": end the name in .png, .jpg or .webp, or name the format");
  }
  try {
    return parse_picture_format(suffix.substr(1));
  } catch (const Error&) {
    fail(ErrorKind::usage, file.string(),
         ": pictures are written as PNG, JPEG and WebP; end the name in .png, .jpg or ", ".webp, or name the format");
  }
}

const char* picture_format_name(PictureFormat format) {
  switch (format) {
    case PictureFormat::png: return "png";
    case PictureFormat::jpeg: return "jpeg";
    case PictureFormat::webp: return "webp";
  }
  fail(ErrorKind::internal, "a picture format without a name");
}

const char* media_type_of(PictureFormat format) {
  switch (format) {
    case PictureFormat::png: return "image/png";
    case PictureFormat::jpeg: return "image/jpeg";
    case PictureFormat::webp: return "image/webp";
  }
  fail(ErrorKind::internal, "a picture format without a media type");
}

std::vector<uint8_t> encode_image(const Image& image, const EncodeOptions& options) {
  check(image, options);
  const PictureMetadata& metadata = options.metadata;
  if (options.format == PictureFormat::png) return encode_png(image, png_text(metadata), srgb_profile());
  const Sections sections{
      .profile = srgb_profile(),
      .exif = metadata.empty() ? std::vector<uint8_t>{} : write_exif(exif_texts(metadata), {image.width, image.height}),
      .xmp = xmp_fields(metadata)};
  return options.format == PictureFormat::jpeg ? encode_jpeg(image, options.quality, sections)
                                               : encode_webp(image, options.quality, sections);
}

void save_image(const std::filesystem::path& file, const Image& image, const EncodeOptions& options) {
  const std::vector<uint8_t> bytes = encode_image(image, options);
  PartFile part(file);
  part.write(bytes.data(), bytes.size());
  part.commit();
}

}  // namespace glmimage
