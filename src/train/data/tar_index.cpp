#include "train/data/tar_index.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "core/error.h"
#include "train/data/extent.h"

namespace glmimage::train {
namespace {

constexpr uint64_t kBlock = 512;
constexpr uint64_t kMostNameBytes = uint64_t{1} << 20;

using Block = std::array<uint8_t, kBlock>;

// A field of a header up to its first zero byte.
std::string text_field(const Block& block, size_t at, size_t length) {
  const char* begin = reinterpret_cast<const char*>(block.data()) + at;
  return {begin, strnlen(begin, length)};
}

// Octal digits with spaces or zeros around them; or, with the top bit set, a big-endian number (GNU, for 8 GiB and
// more).
std::optional<uint64_t> number_field(const Block& block, size_t at, size_t length) {
  uint64_t value = 0;
  if (block[at] & 0x80) {
    if (block[at] != 0x80) return std::nullopt;  // negative
    for (size_t i = 1; i < length; ++i) {
      if (value >> 55) return std::nullopt;
      value = value << 8 | block[at + i];
    }
    return value;
  }
  size_t i = at;
  while (i < at + length && block[i] == ' ') ++i;
  for (; i < at + length && block[i] != ' ' && block[i] != 0; ++i) {
    if (block[i] < '0' || block[i] > '7') return std::nullopt;
    value = value << 3 | (block[i] - '0');
  }
  return value;
}

bool checksum_fits(const Block& block) {
  const std::optional<uint64_t> stored = number_field(block, 148, 8);
  int64_t plain = 0, with_signs = 0;  // some old writers added signed bytes
  for (size_t i = 0; i < kBlock; ++i) {
    const uint8_t byte = i >= 148 && i < 156 ? ' ' : block[i];
    plain += byte;
    with_signs += static_cast<int8_t>(byte);
  }
  return stored && (*stored == static_cast<uint64_t>(plain) || static_cast<int64_t>(*stored) == with_signs);
}

// What pax headers and GNU long names say of the next member.
struct Overrides {
  std::optional<std::string> name;
  std::optional<uint64_t> size;
};

// Records "LENGTH KEY=VALUE\n", LENGTH counting all of it. False when they make no sense.
bool read_pax(std::string_view text, Overrides& out) {
  while (!text.empty()) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const size_t digits = static_cast<size_t>(end - text.data());
    if (error != std::errc() || length > text.size() || length < digits + 3 || text[digits] != ' ') return false;
    const std::string_view record = text.substr(digits + 1, length - digits - 2);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos || text[length - 1] != '\n') return false;
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") out.name = std::string(value);
    if (key == "size") {
      uint64_t size = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) return false;
      out.size = size;
    }
    text.remove_prefix(length);
  }
  return true;
}

std::string header_name(const Block& block) {
  std::string name = text_field(block, 0, 100);
  // GNU's own format says "ustar  " and keeps other things where the prefix would be.
  if (std::memcmp(block.data() + 257, "ustar\0", 6) == 0 && block[345] != 0) {
    name = text_field(block, 345, 155) + "/" + name;
  }
  return name;
}

void refuse_compressed(const std::string& file, const Block& head) {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, const char*> kFormats[] = {
      {"\x1f\x8b"sv, "gzip"}, {"\x28\xb5\x2f\xfd"sv, "zstd"}, {"\xfd\x37zXZ"sv, "xz"}, {"BZh"sv, "bzip2"}};
  for (const auto& [magic, name] : kFormats) {
    if (std::memcmp(head.data(), magic.data(), magic.size()) == 0) {
      fail(ErrorKind::usage, file, ": this archive is compressed (", name,
           "); members are read in any order, which needs a plain .tar: decompress it first");
    }
  }
}

class Scan {
 public:
  explicit Scan(const std::filesystem::path& file)
      : name_(file.native()), extent_(Extent::of_file(file)), reader_(extent_) {}

  TarIndex run() {
    while (index_.fault.empty() && step()) {
    }
    return std::move(index_);
  }

 private:
  template <typename... Parts>
  bool broken(const Parts&... parts) {
    index_.fault = concat(name_, ": ", parts...);
    return false;
  }

  // Reads one header and what belongs to it; false at the end.
  bool step() {
    Block block{};
    const size_t count = reader_.read(at_, block);
    if (count == 0) return at_ > 0 ? false : refuse("is empty");
    if (count < kBlock) {
      if (at_ == 0) return refuse("is too short for a tar archive");
      return broken("ends at byte ", at_ + count, " inside a header: an incomplete download?");
    }
    if (at_ == 0) refuse_compressed(name_, block);
    if (block == Block{}) return false;  // the end mark
    const std::optional<uint64_t> stored_size = number_field(block, 124, 12);
    if (!checksum_fits(block) || !stored_size) {
      if (at_ == 0) return refuse("does not begin with a tar header");
      return broken("no tar header at byte ", at_, " where one should be: damaged?");
    }
    const char kind = static_cast<char>(block[156]);
    if (kind == 'S') return broken("a sparse member at byte ", at_, "; write the archive without --sparse");
    const bool about_next = kind == 'L' || kind == 'K' || kind == 'x' || kind == 'g';
    const bool empty = kind >= '1' && kind <= '6';  // links, devices, folders: no bytes follow, whatever the size says
    const uint64_t own_size = !about_next && next_.size ? *next_.size : *stored_size;
    const uint64_t size = empty ? 0 : own_size, data = at_ + kBlock;
    if (data > extent_.size || size > extent_.size - data) {
      return broken("ends at byte ", extent_.size, " but the member '", next_.name.value_or(header_name(block)),
                    "' has ", size, " bytes from byte ", data, " on: an incomplete download?");
    }
    at_ = data + (size + kBlock - 1) / kBlock * kBlock;
    if (about_next) return read_about_next(kind, data, size);
    const std::string name = next_.name ? *next_.name : header_name(block);
    next_ = {};
    const bool regular = kind == '0' || kind == '\0' || kind == '7';
    if (regular && !name.ends_with('/')) index_.members.push_back({name, data, size});
    return true;
  }

  bool read_about_next(char kind, uint64_t data, uint64_t size) {
    if (kind == 'K' || kind == 'g') return true;  // link targets; settings for the whole archive
    if (size > kMostNameBytes) return broken("a name of ", size, " bytes at byte ", data, ": damaged?");
    std::string text(static_cast<size_t>(size), '\0');
    reader_.read(data, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    if (kind == 'L') {
      next_.name = text.substr(0, text.find('\0'));
      return true;
    }
    return read_pax(text, next_) || broken("an extended header at byte ", data, " makes no sense: damaged?");
  }

  bool refuse(const char* what) { fail(ErrorKind::usage, name_, ": ", what, "; expected a .tar archive"); }

  const std::string name_;
  const Extent extent_;
  const ExtentReader reader_;
  uint64_t at_ = 0;
  Overrides next_;
  TarIndex index_;
};

}  // namespace

TarIndex index_tar(const std::filesystem::path& file) { return Scan(file).run(); }

}  // namespace glmimage::train
