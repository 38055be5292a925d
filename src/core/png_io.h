#pragma once

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <span>

namespace glmimage {

// Where libpng's errors go: it must not return from them, and C++ exceptions must not cross its C frames, so it jumps
// back to guarded(), which throws.
struct PngErrors {
  std::jmp_buf escape;
  char message[160] = "";
  char warning[160] = "";  // the last one
};

[[noreturn]] inline void png_failed(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::strncpy(errors->message, message, sizeof errors->message - 1);
  std::longjmp(errors->escape, 1);
}

// Of things that libpng steps over.
inline void png_warned(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::strncpy(errors->warning, message, sizeof errors->warning - 1);
}

// Runs calls into libpng; false when one failed. `step` may be left by a jump: it must own nothing that needs a
// destructor.
template <typename Step>
bool guarded(PngErrors& errors, const Step& step) {
  if (setjmp(errors.escape) != 0) return false;
  step();
  return true;
}

// The beginning of a PNG file up to the first chunk that is not whole. libpng takes memory for a chunk's length before
// it knows whether the chunk is there: a hundred bytes may ask for 2 GiB.
inline std::span<const uint8_t> whole_chunks(std::span<const uint8_t> bytes) {
  constexpr size_t kSignature = 8, kAroundData = 12;  // length, type and checksum
  size_t at = kSignature;
  while (at < bytes.size() && bytes.size() - at >= kAroundData) {
    const uint8_t* length = bytes.data() + at;
    const size_t data = size_t{length[0]} << 24 | size_t{length[1]} << 16 | size_t{length[2]} << 8 | length[3];
    if (bytes.size() - at - kAroundData < data) break;
    at += kAroundData + data;
  }
  return bytes.first(std::min(at, bytes.size()));
}

struct PngReader {
  PngErrors errors;
  std::span<const uint8_t> rest;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors, png_failed, png_warned);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

inline void read_png_bytes(png_structp png, png_bytep out, size_t count) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (reader->rest.size() < count) png_error(png, "it ends early; an incomplete download?");
  std::memcpy(out, reader->rest.data(), count);
  reader->rest = reader->rest.subspan(count);
}

}  // namespace glmimage
