#include "core/picture_metadata.h"

#include <string_view>

#include "core/error.h"
#include "core/exif.h"
#include "core/image_codecs.h"

namespace glmimage {
namespace {

void add(const std::string& value, std::string& field) {
  if (field.empty()) field = value;
}

// As the web UI itself tells them: "Steps: 50, Sampler: …".
bool looks_like_parameters(const std::string& text) { return text.find("Steps: ") != std::string::npos; }

}  // namespace

void add_exif(std::span<const uint8_t> exif, FoundMetadata& found) {
  const ExifTexts texts = read_exif(exif);
  PictureMetadata& metadata = found.metadata;
  const std::string label = label_in_comment(texts.user_comment);
  add(label, metadata.aigc_label);
  // Of any camera's picture the description and the comment may be about something else.
  for (const std::string& text : {texts.user_comment, texts.description}) {
    if (looks_like_parameters(text)) add(text, metadata.parameters);
  }
  add(texts.software, metadata.creator_tool);
}

XmpFields try_xmp(std::string_view packet, FoundMetadata& found) {
  try {
    return read_xmp(packet);
  } catch (const Error& error) {
    found.faults.push_back(concat("its XMP packet is broken: ", error.what()));
    return {};
  }
}

void add_xmp(const XmpFields& fields, FoundMetadata& found) {
  PictureMetadata& metadata = found.metadata;
  add(fields.recipe, metadata.recipe);
  add(fields.aigc_label, metadata.aigc_label);
  add(fields.digital_source_type, metadata.digital_source_type);
  add(fields.creator_tool, metadata.creator_tool);
}

FoundMetadata read_metadata(std::span<const uint8_t> bytes, const std::string& name) {
  const PictureFormat format = detect_picture_format(bytes, name);
  FoundMetadata found{.format = format};
  switch (format) {
    case PictureFormat::png: read_png_metadata(bytes, found); break;
    case PictureFormat::jpeg: read_jpeg_metadata(bytes, found); break;
    case PictureFormat::webp: read_webp_metadata(bytes, found); break;
  }
  return found;
}

}  // namespace glmimage
