#include <cstring>
#include <new>

#include "core/error.h"
#include "core/image_codecs.h"
#include "core/png_io.h"
#include "core/png_orientation.h"

namespace glmimage {
namespace {

// Whatever the file holds becomes 8-bit RGB.
void ask_for_rgb(png_structp png, png_infop info) {
  png_set_strip_16(png);
  png_set_expand(png);  // palettes, and 1, 2 and 4 bits; makes alpha of tRNS chunks, which goes in the next line
  png_set_strip_alpha(png);
  png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

uint32_t big_endian_u32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, const std::string& name) {
  // The header by hand, for a message of our own; libpng checks it again.
  if (bytes.size() >= 24 && std::memcmp(bytes.data() + 12, "IHDR", 4) == 0) {
    check_image_size(name, big_endian_u32(bytes.data() + 16), big_endian_u32(bytes.data() + 20));
  }
  PngReader reader;
  reader.rest = whole_chunks(bytes);
  png_structp png = reader.png;
  png_infop info = reader.info;
  if (info == nullptr) throw std::bad_alloc();
  const auto broken = [&] { fail(ErrorKind::usage, name, ": this PNG picture is broken: ", reader.errors.message); };

  bool read = guarded(reader.errors, [&] {
    png_set_read_fn(png, &reader, read_png_bytes);
    png_set_user_limits(png, kMaxImageSide, kMaxImageSide);
    png_read_info(png, info);
    ask_for_rgb(png, info);
  });
  if (!read) broken();

  Image image{png_get_image_width(png, info), png_get_image_height(png, info), {}};
  const size_t row_bytes = 3 * static_cast<size_t>(image.width);
  if (png_get_rowbytes(png, info) != row_bytes) fail(ErrorKind::internal, name, ": libpng does not give 8-bit RGB");
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = image.pixels.data() + y * row_bytes;
  read = guarded(reader.errors, [&] {
    png_read_image(png, rows.data());
    png_read_end(png, info);
  });
  if (!read) broken();
  return upright(std::move(image), png_orientation(read_bytes(bytes)));
}

}  // namespace glmimage
