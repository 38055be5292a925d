#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace glmimage::train {

// A fast 64-bit hash of bytes, eight at a time: a disk gives them more slowly. Against accidents, not against attacks.
class ByteHash {
 public:
  explicit ByteHash(uint64_t seed = 0) : hash_(seed ^ 0x9e3779b97f4a7c15ull) {}

  void add(const void* data, size_t size) {
    const char* bytes = static_cast<const char*>(data);
    for (; size >= 8; bytes += 8, size -= 8) {
      uint64_t word;
      std::memcpy(&word, bytes, 8);
      mix(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, bytes, size);
    mix(rest ^ (uint64_t{size} + 1) << 56);  // the length of the tail counts: "a" is not "a\0"
  }
  void add(std::string_view text) { add(text.data(), text.size()); }
  uint64_t value() const {
    uint64_t z = hash_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

 private:
  void mix(uint64_t word) { hash_ = std::rotl(hash_ ^ word * 0x87c37b91114253d5ull, 31) * 0x4cf5ad432745937full; }
  uint64_t hash_;
};

// 128 bits of a text: no two of any number of pictures share them.
using TextHash = std::array<uint64_t, 2>;
TextHash hash_text(std::string_view text);
std::string hex(uint64_t value);
std::string hex(const TextHash& hash);

// What the weights in `folder` whose names begin with one of `prefixes` (none: all) are: names, types, shapes, and the
// bytes of each tensor, all of one of up to 1 MiB, of a larger one 16 pieces of 64 KiB from its first to its last byte.
// Training moves all bytes of a tensor, so samples tell two states apart, and a checkpoint of 30 GB is told in a
// second. Does not depend on how tensors are spread over files, on the files' names or times. Throws
// ErrorKind::checkpoint as WeightFiles::open.
std::string hash_weights(const std::filesystem::path& folder, const std::vector<std::string>& prefixes = {});

}  // namespace glmimage::train
