#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "core/image_codecs.h"
#include "core/jpeg_io.h"
#include "core/jpeg_markers.h"

namespace glmimage {
namespace {

// One piece of the packets behind the first.
struct Piece {
  std::string_view id, data;
  uint32_t total = 0, offset = 0;
};

uint32_t big_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// The pieces of one id joined, or nothing when one is missing, overlaps another or lies about lengths.
std::string join(std::vector<Piece> pieces, const std::string& id) {
  std::erase_if(pieces, [&](const Piece& each) { return each.id != id; });
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
  std::string out;
  for (const Piece& each : pieces) {
    if (each.offset != out.size() || each.total != pieces.front().total) return "";
    out += each.data;
  }
  return !pieces.empty() && out.size() == pieces.front().total ? out : "";
}

void add_segments(const std::vector<std::string_view>& segments, FoundMetadata& found) {
  XmpFields xmp;
  std::vector<Piece> pieces;
  for (const std::string_view segment : segments) {
    if (segment.starts_with(kExifSegment)) {
      add_exif({reinterpret_cast<const uint8_t*>(segment.data()), segment.size()}, found);
    } else if (segment.starts_with(kXmpSegment) && xmp == XmpFields{}) {
      xmp = try_xmp(segment.substr(kXmpSegment.size()), found);
    } else if (segment.starts_with(kXmpExtensionSegment) && segment.size() > kXmpExtensionHead) {
      const size_t numbers = kXmpExtensionSegment.size() + kXmpExtensionIdBytes;
      pieces.push_back({.id = segment.substr(kXmpExtensionSegment.size(), kXmpExtensionIdBytes),
                        .data = segment.substr(kXmpExtensionHead),
                        .total = big_endian(segment, numbers),
                        .offset = big_endian(segment, numbers + 4)});
    }
  }
  add_xmp(xmp, found);
  if (xmp.extension.empty()) return;
  const std::string extension = join(std::move(pieces), xmp.extension);
  if (extension.empty()) {
    found.faults.push_back("the extension of its XMP packet is not complete");
  } else {
    add_xmp(try_xmp(extension, found), found);
  }
}

}  // namespace

void read_jpeg_metadata(std::span<const uint8_t> bytes, FoundMetadata& found) {
  JpegReader reader;
  jpeg_decompress_struct& info = reader.info;
  reader.errors.manager.emit_message = [](j_common_ptr, int) {};
  const bool read = guarded(reader.errors, [&] {
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, bytes.data(), bytes.size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
  });
  std::vector<std::string_view> segments;
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    segments.emplace_back(reinterpret_cast<const char*>(marker->data), marker->data_length);
  }
  add_segments(segments, found);
  if (!read) found.faults.push_back(concat("the file is broken: ", reader.errors.message));
}

}  // namespace glmimage
