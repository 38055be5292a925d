#include <cstring>

#include "core/error.h"
#include "core/exif.h"
#include "core/image_codecs.h"
#include "core/jpeg_io.h"
#include "core/jpeg_markers.h"

namespace glmimage {
namespace {

constexpr int kMaxScans = 200;  // progressive pictures have about ten; thousands are an attack on our time

// libjpeg only warns of damage and paints grey; a picture to draw from should be whole.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // a trace message
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC: jpeg_failed(info);
    default: return;  // oddities that decode well
  }
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* errors = static_cast<JpegErrors*>(info->client_data);
  std::strcpy(errors->message, "it has too many scans");
  std::longjmp(errors->escape, 1);
}

template <typename Step>
void read(JpegReader& reader, const std::string& name, const Step& step) {
  if (guarded(reader.errors, step)) return;
  const bool cut = reader.errors.manager.msg_code == JWRN_JPEG_EOF;
  fail(ErrorKind::usage, name, ": this JPEG picture is broken: ", reader.errors.message,
       cut ? " (it ends early; an incomplete download?)" : "");
}

int jpeg_orientation(const jpeg_decompress_struct& info) {
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const bool exif =
        marker->data_length >= 6 && std::memcmp(marker->data, kExifSegment.data(), kExifSegment.size()) == 0;
    if (exif) return exif_orientation({marker->data, marker->data_length});
  }
  return 1;
}

// One row of CMYK, inverted as Adobe writes it (as Pillow does, whoever wrote the file), to RGB: each ink darkens by
// its share, in Pillow's fixed point arithmetic.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int64_t width) {
  for (int64_t x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    for (int channel = 0; channel < 3; ++channel) {
      const int product = (255 - cmyk[channel]) * cmyk[3] + 128;
      rgb[channel] = static_cast<uint8_t>(cmyk[3] - ((product + (product >> 8)) >> 8));
    }
  }
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name) {
  JpegReader reader;
  jpeg_decompress_struct& info = reader.info;
  reader.errors.manager.emit_message = on_message;

  read(reader, name, [&] {
    jpeg_create_decompress(&info);
    reader.progress.progress_monitor = on_progress;
    info.progress = &reader.progress;
    jpeg_mem_src(&info, bytes.data(), bytes.size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
  });
  check_image_size(name, info.image_width, info.image_height);
  const int orientation = jpeg_orientation(info);  // now: finishing frees the markers
  const bool cmyk = info.num_components == 4;
  info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;  // the rest stays at the defaults, which are Pillow's
  read(reader, name, [&] { jpeg_start_decompress(&info); });

  Image image{info.output_width, info.output_height, {}};
  const size_t row_bytes = 3 * static_cast<size_t>(image.width);
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  std::vector<uint8_t> ink(cmyk ? 4 * static_cast<size_t>(image.width) : 0);  // (width, 4)
  read(reader, name, [&] {
    while (info.output_scanline < info.output_height) {
      uint8_t* out = image.pixels.data() + info.output_scanline * row_bytes;
      JSAMPROW row = cmyk ? ink.data() : out;
      jpeg_read_scanlines(&info, &row, 1);
      if (cmyk) cmyk_to_rgb(ink.data(), out, image.width);
    }
    jpeg_finish_decompress(&info);
  });
  return upright(std::move(image), orientation);
}

}  // namespace glmimage
