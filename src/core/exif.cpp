#include "core/exif.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/tiff_bytes.h"
#include "core/utf8.h"

namespace glmimage {
namespace {

constexpr uint32_t kImageDescription = 0x010E, kOrientation = 0x0112, kSoftware = 0x0131, kExifDirectory = 0x8769,
                   kExifVersion = 0x9000, kUserComment = 0x9286, kColorSpace = 0xA001;
constexpr uint32_t kAscii = 2, kShort = 3, kLong = 4, kUndefined = 7;
constexpr size_t kMostTextBytes = size_t{16} << 20;

// A user comment begins with eight bytes that name its character code.
constexpr std::string_view kAsciiCode("ASCII\0\0\0", 8), kUnicodeCode("UNICODE\0", 8);

std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kMostTextBytes)};
}

std::string up_to_zero(std::string_view text) { return std::string(text.substr(0, text.find('\0'))); }

std::string read_text(const TiffBytes& tiff, size_t directory, uint32_t tag) {
  const auto entry = tiff.find(directory, tag);
  return entry ? up_to_zero(text_of(entry->value)) : "";
}

std::string read_comment(const TiffBytes& tiff, size_t directory) {
  const auto entry = tiff.find(directory, kUserComment);
  if (!entry || entry->value.size() < 8) return "";
  const std::string_view text = text_of(entry->value);
  if (text.starts_with(kUnicodeCode)) {
    return up_to_zero(utf8_from_utf16(entry->value.subspan(8, text.size() - 8), tiff.big_endian()));
  }
  // "ASCII", "JIS", or eight zero bytes for an unknown code: as it is.
  return up_to_zero(text.substr(8));
}

bool is_ascii(const std::string& text) {
  for (const char c : text) {
    if ((c & 0x80) != 0) return false;
  }
  return true;
}

std::string comment_bytes(const std::string& text) {
  if (is_ascii(text)) return std::string(kAsciiCode) + text;
  return std::string(kUnicodeCode) + utf16_from_utf8(text);
}

// A directory of a TIFF structure with the highest byte first. Entries are added in the order of their tags, as the
// standard has it; values of more than four bytes are put behind the directory.
class DirectoryWriter {
 public:
  explicit DirectoryWriter(size_t at, size_t entries) : values_at_(at + 2 + 12 * entries + 4) {
    put(head_, entries, 2);
  }

  void text(uint32_t tag, uint32_t type, const std::string& value) {
    put(head_, tag, 2), put(head_, type, 2), put(head_, value.size(), 4);
    if (value.size() <= 4) {
      head_ += value;
      head_.append(4 - value.size(), '\0');
      return;
    }
    put(head_, values_at_ + values_.size(), 4);
    values_ += value;
    if (values_.size() % 2 == 1) values_ += '\0';  // values begin at even places
  }
  void number(uint32_t tag, uint32_t type, size_t value) {
    put(head_, tag, 2), put(head_, type, 2), put(head_, 1, 4);
    put(head_, type == kShort ? value << 16 : value, 4);
  }
  std::string bytes() const { return head_ + std::string(4, '\0') + values_; }  // no directory follows

 private:
  static void put(std::string& out, size_t value, int count) {
    for (int i = count - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  }
  size_t values_at_;
  std::string head_, values_;
};

}  // namespace

int exif_orientation(std::span<const uint8_t> exif) {
  const auto tiff = TiffBytes::open(exif);
  if (!tiff) return 1;
  const auto entry = tiff->find(tiff->u32(4), kOrientation);
  if (!entry || entry->type != kShort) return 1;
  const uint32_t value = tiff->u16_at_start(*entry);
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

std::vector<uint8_t> write_exif(const ExifTexts& texts) {
  const auto with_zero = [](const std::string& text) { return up_to_zero(text) + '\0'; };
  const size_t entries = 1 + (texts.description.empty() ? 0 : 1) + (texts.software.empty() ? 0 : 1);
  // Twice the same directory: the first tells how long it is, and so where the second one begins.
  const auto first = [&](size_t exif_at) {
    DirectoryWriter out(8, entries);
    if (!texts.description.empty()) out.text(kImageDescription, kAscii, with_zero(texts.description));
    if (!texts.software.empty()) out.text(kSoftware, kAscii, with_zero(texts.software));
    out.number(kExifDirectory, kLong, exif_at);
    return out.bytes();
  };
  const size_t exif_at = 8 + first(0).size();
  DirectoryWriter exif(exif_at, texts.user_comment.empty() ? 2 : 3);
  exif.text(kExifVersion, kUndefined, "0232");
  if (!texts.user_comment.empty()) exif.text(kUserComment, kUndefined, comment_bytes(texts.user_comment));
  exif.number(kColorSpace, kShort, 1);  // sRGB
  const std::string block = std::string("MM\0\x2A\0\0\0\x08", 8) + first(exif_at) + exif.bytes();
  return {block.begin(), block.end()};
}

ExifTexts read_exif(std::span<const uint8_t> exif) {
  const auto tiff = TiffBytes::open(exif);
  if (!tiff) return {};
  const size_t main = tiff->u32(4);
  const auto entry = tiff->find(main, kExifDirectory);
  return {.description = read_text(*tiff, main, kImageDescription),
          .software = read_text(*tiff, main, kSoftware),
          .user_comment = entry ? read_comment(*tiff, tiff->u32_at_start(*entry)) : ""};
}

std::string aigc_comment(const std::string& label) { return "{\"AIGC\":" + label + "}"; }

std::string label_in_comment(const std::string& comment) {
  const auto value = nlohmann::ordered_json::parse(comment, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || !value.contains("AIGC")) return "";
  return value["AIGC"].dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace glmimage
