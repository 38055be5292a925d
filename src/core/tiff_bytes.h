#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace glmimage {

// One entry of a TIFF directory: where its value lies in the block. Nothing outside the block is ever named.
struct TiffEntry {
  uint32_t tag = 0, type = 0;
  std::span<const uint8_t> value;
};

// The whole numbers of a TIFF structure, in its own byte order. Reading past the end gives 0.
class TiffBytes {
 public:
  // Nothing where the bytes are no TIFF structure. "Exif\0\0" before it is stepped over.
  static std::optional<TiffBytes> open(std::span<const uint8_t> bytes) {
    if (bytes.size() >= 6 && std::memcmp(bytes.data(), "Exif\0\0", 6) == 0) bytes = bytes.subspan(6);
    if (bytes.size() < 8 || bytes[0] != bytes[1] || (bytes[0] != 'M' && bytes[0] != 'I')) return std::nullopt;
    const TiffBytes tiff(bytes, bytes[0] == 'M');
    if (tiff.u16(2) != 42) return std::nullopt;
    return tiff;
  }

  bool big_endian() const { return big_endian_; }
  uint32_t u16(size_t at) const { return number(at, 2); }
  uint32_t u32(size_t at) const { return number(at, 4); }

  // The entry of a directory, or nothing: no such entry, or a value that reaches outside the block.
  std::optional<TiffEntry> find(size_t directory, uint32_t tag) const {
    const size_t entries = u16(directory);
    for (size_t i = 0; i < entries; ++i) {
      const size_t at = directory + 2 + 12 * i;  // tag, type, count, value or where it is
      if (u16(at) != tag) continue;
      const uint32_t type = u16(at + 2);
      const uint64_t size = uint64_t{u32(at + 4)} * size_of(type);
      const uint64_t from = size <= 4 ? at + 8 : u32(at + 8);
      if (size == 0 || from > bytes_.size() || bytes_.size() - from < size) return std::nullopt;
      return TiffEntry{tag, type, bytes_.subspan(static_cast<size_t>(from), static_cast<size_t>(size))};
    }
    return std::nullopt;
  }

  // The first number of a value; 0 where it is shorter.
  uint32_t u16_at_start(const TiffEntry& entry) const { return entry.value.size() < 2 ? 0 : u16(place(entry)); }
  uint32_t u32_at_start(const TiffEntry& entry) const { return entry.value.size() < 4 ? 0 : u32(place(entry)); }

 private:
  TiffBytes(std::span<const uint8_t> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  // Bytes of one value of a type; 0: a type we do not read.
  static uint64_t size_of(uint32_t type) {
    constexpr uint32_t kByte = 1, kAscii = 2, kShort = 3, kLong = 4, kUndefined = 7;
    if (type == kByte || type == kAscii || type == kUndefined) return 1;
    return type == kShort ? 2 : type == kLong ? 4 : 0;
  }

  size_t place(const TiffEntry& entry) const { return static_cast<size_t>(entry.value.data() - bytes_.data()); }

  uint32_t number(size_t at, size_t count) const {
    if (at > bytes_.size() || bytes_.size() - at < count) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) value = value << 8 | bytes_[at + (big_endian_ ? i : count - 1 - i)];
    return value;
  }
  std::span<const uint8_t> bytes_;
  bool big_endian_;
};

}  // namespace glmimage
