#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>

#include "core/error.h"
#include "core/image_codecs.h"

namespace glmimage {
namespace {

// Of zlib's 1..9. On 2048 x 2048 px of smooth colour with a little noise, level 6 took three times as long for 10 %
// less.
constexpr int kCompressionLevel = 3;

// Where libpng's errors go: it must not return from them, and C++ exceptions must not cross its C frames, so it jumps
// back to guarded(), which throws.
struct PngErrors {
  std::jmp_buf escape;
  char message[160] = "";
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::strncpy(errors->message, message, sizeof errors->message - 1);
  std::longjmp(errors->escape, 1);
}

void on_warning(png_structp, png_const_charp) {}

// Runs calls into libpng; false when one failed. `step` may be left by a jump: it must own nothing that needs a
// destructor.
template <typename Step>
bool guarded(PngErrors& errors, const Step& step) {
  if (setjmp(errors.escape) != 0) return false;
  step();
  return true;
}

struct PngReader {
  PngErrors errors;
  std::span<const uint8_t> rest;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (reader->rest.size() < count) png_error(png, "it ends early; an incomplete download?");
  std::memcpy(out, reader->rest.data(), count);
  reader->rest = reader->rest.subspan(count);
}

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

int png_orientation(png_structp png, png_infop info) {
  png_uint_32 count = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(png, info, &count, &exif) == 0 || exif == nullptr) return 1;
  return exif_orientation({exif, count});
}

struct PngWriter {
  PngErrors errors;
  std::vector<uint8_t> bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  ~PngWriter() { png_destroy_write_struct(&png, &info); }
};

void write_bytes(png_structp png, png_bytep data, size_t count) {
  auto* writer = static_cast<PngWriter*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    writer->bytes.insert(writer->bytes.end(), data, data + count);
  } catch (const std::bad_alloc&) {
    stored = false;
  }
  if (!stored) png_error(png, "out of memory");
}

void check_key(const std::string& key) {
  bool printable = std::all_of(key.begin(), key.end(), [](char c) { return c >= 32 && c < 127; });
  if (key.empty() || key.size() > 79 || !printable || key.front() == ' ' || key.back() == ' ') {
    fail(ErrorKind::internal, "PNG text: keys are 1 to 79 printable ASCII characters, not '", key, "'");
  }
}

// PNG text cannot hold a zero byte: it becomes U+FFFD, as it is no reason to lose the picture.
std::string without_zero_bytes(const std::string& value) {
  std::string out;
  for (char c : value) c == '\0' ? out.append("\xEF\xBF\xBD") : out.append(1, c);
  return out;
}

// The entries in libpng's form; they point into `values` and `text`.
std::vector<png_text> png_texts(const ImageText& text, std::vector<std::string>& values) {
  std::vector<png_text> entries;
  for (const auto& [key, value] : text) {
    check_key(key);
    values.push_back(without_zero_bytes(value));
  }
  for (size_t i = 0; i < text.size(); ++i) {
    const bool ascii = std::all_of(values[i].begin(), values[i].end(), [](char c) { return (c & 0x80) == 0; });
    png_text entry{};
    entry.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    entry.key = const_cast<char*>(text[i].first.c_str());  // libpng copies both
    entry.text = values[i].data();
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, const std::string& name) {
  // The header by hand, for a message of our own; libpng checks it again.
  if (bytes.size() >= 24 && std::memcmp(bytes.data() + 12, "IHDR", 4) == 0) {
    check_image_size(name, big_endian_u32(bytes.data() + 16), big_endian_u32(bytes.data() + 20));
  }
  PngReader reader;
  reader.rest = bytes;
  png_structp png = reader.png;
  png_infop info = reader.info;
  if (info == nullptr) throw std::bad_alloc();
  const auto broken = [&] { fail(ErrorKind::usage, name, ": this PNG picture is broken: ", reader.errors.message); };

  bool read = guarded(reader.errors, [&] {
    png_set_read_fn(png, &reader, read_bytes);
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
  return upright(std::move(image), png_orientation(png, info));
}

std::vector<uint8_t> encode_png(const Image& image, const ImageText& text) {
  const size_t row_bytes = 3 * static_cast<size_t>(image.width);
  if (image.width <= 0 || image.height <= 0 || image.pixels.size() != row_bytes * static_cast<size_t>(image.height)) {
    fail(ErrorKind::internal, "a picture of ", image.width, " x ", image.height, " px with ", image.pixels.size(),
         " bytes cannot be written");
  }
  std::vector<std::string> values;
  const std::vector<png_text> entries = png_texts(text, values);
  PngWriter writer;
  png_structp png = writer.png;
  png_infop info = writer.info;
  if (info == nullptr) throw std::bad_alloc();

  const bool written = guarded(writer.errors, [&] {
    png_set_write_fn(png, &writer, write_bytes, nullptr);
    png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    png_set_compression_level(png, kCompressionLevel);
    png_set_text(png, info, entries.data(), static_cast<int>(entries.size()));
    png_write_info(png, info);
    for (int64_t y = 0; y < image.height; ++y) png_write_row(png, image.pixels.data() + y * row_bytes);
    png_write_end(png, info);
  });
  if (!written) fail(ErrorKind::internal, "writing a PNG picture: ", writer.errors.message);
  return std::move(writer.bytes);
}

}  // namespace glmimage
