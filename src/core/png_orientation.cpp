#include "core/png_orientation.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "core/exif.h"

namespace glmimage {
namespace {

constexpr int kMostChunks = 10000;  // before the pixels; there are a handful, and more are an attack on our time
constexpr uint32_t kMostExifBytes = 1 << 20;
constexpr uint64_t kFirstChunkEnd = 33;  // signature and IHDR

uint32_t big_endian_u32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

// A chunk's data; empty where its end is missing or its checksum, which spans type and data, is wrong.
std::vector<uint8_t> checked_data(const ReadAt& read, uint64_t type_at, uint32_t length) {
  constexpr size_t kType = 4, kChecksum = 4;
  std::vector<uint8_t> bytes(kType + length + kChecksum);
  if (read(type_at, bytes) < bytes.size()) return {};
  const uint8_t* checksum = bytes.data() + kType + length;
  if (crc32(0, bytes.data(), static_cast<uInt>(kType + length)) != big_endian_u32(checksum)) return {};
  return {bytes.begin() + kType, bytes.end() - kChecksum};
}

}  // namespace

int png_orientation(const ReadAt& read) {
  uint64_t at = kFirstChunkEnd;
  for (int i = 0; i < kMostChunks; ++i) {
    std::array<uint8_t, 8> head;
    if (read(at, head) < head.size()) break;
    const uint32_t length = big_endian_u32(head.data());
    const auto is = [&](const char* type) { return std::memcmp(head.data() + 4, type, 4) == 0; };
    if (is("IDAT") || is("IEND")) break;
    if (is("eXIf") && length <= kMostExifBytes) {
      const std::vector<uint8_t> exif = checked_data(read, at + 4, length);
      if (!exif.empty()) return exif_orientation(exif);
    }
    at += uint64_t{12} + length;  // length, type, checksum
  }
  return 1;
}

ReadAt read_bytes(std::span<const uint8_t> bytes) {
  return [bytes](uint64_t offset, std::span<uint8_t> out) {
    if (offset >= bytes.size()) return size_t{0};
    const size_t count = std::min(out.size(), bytes.size() - static_cast<size_t>(offset));
    std::copy_n(bytes.data() + offset, count, out.data());
    return count;
  };
}

}  // namespace glmimage
