#include <cctype>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "core/image_codecs.h"
#include "core/jpeg_io.h"
#include "core/jpeg_markers.h"
#include "core/sha256.h"

namespace glmimage {
namespace {

// From here on colours are kept as finely as brightness: the edges of coloured letters would fray.
constexpr int kFullColourQuality = 90;

// Ready for jpeg_create_compress.
struct JpegWriter {
  JpegErrors errors;
  jpeg_compress_struct info{};
  unsigned char* bytes = nullptr;  // malloc's, of libjpeg
  unsigned long size = 0;          // libjpeg's type
  JpegWriter() {
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jpeg_failed;
    info.client_data = &errors;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

// Owns nothing: libjpeg may jump out of it.
void begin(JpegWriter& writer, const Image& image, int quality) {
  jpeg_compress_struct& info = writer.info;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &writer.bytes, &writer.size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  if (quality >= kFullColourQuality) info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  info.optimize_coding = TRUE;
  jpeg_start_compress(&info, TRUE);
}

void append(std::string& out, uint32_t value) {
  for (int i = 3; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

// The packet as the contents of one segment; a packet too long for one as a packet that names an extension and the
// extension's pieces. What may be long is the recipe; the labels stay where every reader finds them.
std::vector<std::string> xmp_segments(XmpFields fields) {
  std::string packet = write_xmp(fields);
  if (packet.empty()) return {};
  std::vector<std::string> out;
  if (kXmpSegment.size() + packet.size() > kMostSegmentBytes) {
    XmpFields only_recipe;
    only_recipe.recipe = fields.recipe;
    const std::string extension = write_xmp(only_recipe);
    fields.recipe.clear();
    // The specification takes MD5; readers only compare. Upper case, 32 digits.
    for (const char c : sha256_hex(extension).substr(0, kXmpExtensionIdBytes)) {
      fields.extension += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    packet = write_xmp(fields);
    for (size_t at = 0; at < extension.size(); at += kMostXmpPiece) {
      std::string piece = std::string(kXmpExtensionSegment) + fields.extension;
      append(piece, static_cast<uint32_t>(extension.size()));
      append(piece, static_cast<uint32_t>(at));
      out.push_back(piece + extension.substr(at, kMostXmpPiece));
    }
  }
  out.insert(out.begin(), std::string(kXmpSegment) + packet);
  return out;
}

std::vector<std::string> app1_segments(const Sections& sections) {
  std::vector<std::string> out;
  const std::string exif = std::string(kExifSegment) + std::string(sections.exif.begin(), sections.exif.end());
  if (!sections.exif.empty() && exif.size() <= kMostSegmentBytes) out.push_back(exif);
  for (std::string& each : xmp_segments(sections.xmp)) out.push_back(std::move(each));
  return out;
}

}  // namespace

std::vector<uint8_t> encode_jpeg(const Image& image, int quality, const Sections& sections) {
  const std::vector<std::string> app1 = app1_segments(sections);
  JpegWriter writer;
  jpeg_compress_struct& info = writer.info;
  const bool written = guarded(writer.errors, [&] {
    begin(writer, image, quality);
    for (size_t i = 0; i < app1.size(); ++i) {
      jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(app1[i].data()),
                        static_cast<unsigned>(app1[i].size()));
    }
    jpeg_write_icc_profile(&info, sections.profile.data(), static_cast<unsigned>(sections.profile.size()));
    while (info.next_scanline < info.image_height) {
      JSAMPROW row = const_cast<JSAMPROW>(image.pixels.data() + size_t{3} * info.image_width * info.next_scanline);
      jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
  });
  if (!written) fail(ErrorKind::internal, "writing a JPEG picture: ", writer.errors.message);
  return {writer.bytes, writer.bytes + writer.size};
}

}  // namespace glmimage
