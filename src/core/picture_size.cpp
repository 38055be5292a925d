#include "core/picture_size.h"

#include <webp/decode.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/exif.h"
#include "core/image_codecs.h"
#include "core/png_orientation.h"

namespace glmimage {
namespace {

// Headers have a handful of chunks and segments. Ten thousand are an attack on our time.
constexpr int kMostChunks = 10000;
constexpr size_t kMostExifBytes = 1 << 16;

// A file seen through a window of one disk page: headers are read a few bytes at a time.
class Window {
 public:
  Window(const ReadAt& read, const std::string& name) : read_(read), name_(name) {}

  // Up to `count` bytes (at most a window) at `offset`; fewer at the end of the file.
  std::span<const uint8_t> peek(uint64_t offset, size_t count) {
    if (offset < start_ || offset - start_ > filled_ || filled_ - (offset - start_) < count) {
      start_ = offset;
      filled_ = read_(offset, page_);
    }
    const size_t from = static_cast<size_t>(offset - start_);
    return std::span<const uint8_t>(page_).subspan(from, std::min(count, filled_ - from));
  }
  std::span<const uint8_t> need(uint64_t offset, size_t count) {
    const std::span<const uint8_t> bytes = peek(offset, count);
    if (bytes.size() < count) broken("its header ends early; an incomplete download?");
    return bytes;
  }
  uint64_t big_endian(uint64_t offset, size_t count) {
    uint64_t value = 0;
    for (uint8_t byte : need(offset, count)) value = value << 8 | byte;
    return value;
  }
  std::vector<uint8_t> copy(uint64_t offset, uint64_t count) {
    std::vector<uint8_t> bytes(static_cast<size_t>(std::min<uint64_t>(count, kMostExifBytes)));
    bytes.resize(read_(offset, bytes));
    return bytes;
  }
  [[noreturn]] void broken(const char* what) const {
    fail(ErrorKind::usage, name_, ": this picture is broken: ", what);
  }

 private:
  const ReadAt& read_;
  const std::string& name_;
  std::array<uint8_t, 4096> page_;
  uint64_t start_ = 0;
  size_t filled_ = 0;
};

bool is(std::span<const uint8_t> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

struct Header {
  PictureSize stored;
  int orientation = 1;
};

Header png_header(Window& in, const ReadAt& read) {
  if (!is(in.need(12, 4), "IHDR")) in.broken("a PNG file begins with the chunk IHDR");
  return {{static_cast<int64_t>(in.big_endian(16, 4)), static_cast<int64_t>(in.big_endian(20, 4))},
          png_orientation(read)};
}

bool is_frame_header(uint8_t marker) {  // SOF0 to SOF15 but DHT, JPG and DAC
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// Where the next marker's second byte is. Like libjpeg this steps over fill bytes and strays.
uint64_t next_marker(Window& in, uint64_t at) {
  for (size_t strays = 0; strays < kMostExifBytes; ++strays, ++at) {
    const std::span<const uint8_t> pair = in.peek(at, 2);
    if (pair.size() < 2) break;
    if (pair[0] == 0xFF && pair[1] != 0xFF && pair[1] != 0) return at + 1;
  }
  return 0;
}

Header jpeg_header(Window& in) {
  Header header;
  bool oriented = false;
  uint64_t at = 2;
  for (int i = 0; i < kMostChunks; ++i) {
    at = next_marker(in, at);
    if (at == 0) break;
    const uint8_t marker = in.need(at, 1)[0];
    ++at;
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // these stand alone
    if (marker == 0xD9 || marker == 0xDA || in.peek(at, 2).size() < 2) break;
    const uint64_t length = in.big_endian(at, 2);
    if (length < 2) in.broken("a segment of its header has no length");
    if (is_frame_header(marker)) {
      header.stored = {static_cast<int64_t>(in.big_endian(at + 5, 2)), static_cast<int64_t>(in.big_endian(at + 3, 2))};
    } else if (marker == 0xE1 && !oriented && is(in.peek(at + 2, 6), std::string_view("Exif\0\0", 6))) {
      header.orientation = exif_orientation(in.copy(at + 2, length - 2));
      oriented = true;
    }
    at += length;
  }
  if (header.stored == PictureSize{}) in.broken("no frame header is found; an incomplete download?");
  return header;
}

Header webp_header(Window& in) {
  const std::span<const uint8_t> head = in.peek(0, 4096);
  WebPBitstreamFeatures features{};
  const VP8StatusCode status = WebPGetFeatures(head.data(), head.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) in.broken("its header ends early; an incomplete download?");
  if (status != VP8_STATUS_OK) in.broken("its WebP header makes no sense");
  Header header{{features.width, features.height}};
  constexpr uint8_t kHasExif = 8;
  if (!is(head.subspan(12), "VP8X") || head.size() < 21 || (head[20] & kHasExif) == 0) return header;
  uint64_t at = 12;
  for (int i = 0; i < kMostChunks; ++i) {
    const std::span<const uint8_t> chunk = in.peek(at, 8);
    if (chunk.size() < 8) break;
    const uint64_t length = chunk[4] | chunk[5] << 8 | chunk[6] << 16 | static_cast<uint64_t>(chunk[7]) << 24;
    if (is(chunk, "EXIF")) {
      header.orientation = exif_orientation(in.copy(at + 8, length));
      break;
    }
    at += 8 + length + length % 2;
  }
  return header;
}

}  // namespace

PictureSize picture_size(const ReadAt& read, const std::string& name) {
  Window in(read, name);
  const std::span<const uint8_t> head = in.peek(0, 16);
  Header header;
  if (is(head, "\x89PNG\r\n\x1a\n")) {
    header = png_header(in, read);
  } else if (is(head, "\xff\xd8\xff")) {
    header = jpeg_header(in);
  } else if (is(head, "RIFF") && head.size() >= 12 && is(head.subspan(8), "WEBP")) {
    header = webp_header(in);
  } else {
    decode_image(head, name);  // has the words for files that are no such pictures
    in.broken("it is neither PNG, JPEG nor WebP");
  }
  if (header.orientation >= 5) std::swap(header.stored.width, header.stored.height);
  if (header.stored.width <= 0 || header.stored.height <= 0) {
    fail(ErrorKind::usage, name, ": its header says ", header.stored.width, " x ", header.stored.height,
         " px: a picture without pixels");
  }
  return header.stored;
}

PictureSize picture_size(std::span<const uint8_t> bytes, const std::string& name) {
  return picture_size(read_bytes(bytes), name);
}

}  // namespace glmimage
