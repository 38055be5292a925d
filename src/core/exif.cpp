#include "core/exif.h"

#include <cstring>
#include <string_view>

#include "core/shallow_json.h"
#include "core/tiff_bytes.h"
#include "core/utf8.h"

namespace glmimage {
namespace {

constexpr uint32_t kImageDescription = 0x010E, kOrientation = 0x0112, kXResolution = 0x011A, kYResolution = 0x011B,
                   kResolutionUnit = 0x0128, kSoftware = 0x0131, kYCbCrPositioning = 0x0213, kExifDirectory = 0x8769;
constexpr uint32_t kExifVersion = 0x9000, kComponents = 0x9101, kUserComment = 0x9286, kFlashpixVersion = 0xA000,
                   kColorSpace = 0xA001, kWidth = 0xA002, kHeight = 0xA003;
constexpr uint32_t kAscii = 2, kShort = 3, kLong = 4, kRational = 5, kUndefined = 7;
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

// The highest byte first, as everywhere in what is written here.
std::string number_bytes(size_t value, int count) {
  std::string out;
  for (int i = count - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

struct Entry {
  uint32_t tag, type;
  std::string value;  // its bytes
};
Entry short_entry(uint32_t tag, size_t value) { return {tag, kShort, number_bytes(value, 2)}; }
Entry long_entry(uint32_t tag, size_t value) { return {tag, kLong, number_bytes(value, 4)}; }
Entry text_entry(uint32_t tag, const std::string& text) { return {tag, kAscii, up_to_zero(text) + '\0'}; }
Entry ratio_entry(uint32_t tag, size_t value) { return {tag, kRational, number_bytes(value, 4) + number_bytes(1, 4)}; }

// A directory at a place of the block, its entries in the order of their tags, as the standard has it. Values of more
// than four bytes are put behind it.
std::string directory(const std::vector<Entry>& entries, size_t at) {
  std::string head = number_bytes(entries.size(), 2), values;
  const size_t values_at = at + 2 + 12 * entries.size() + 4;
  for (const auto& [tag, type, value] : entries) {
    const size_t unit = type == kShort ? 2 : type == kLong ? 4 : type == kRational ? 8 : 1;
    head += number_bytes(tag, 2) + number_bytes(type, 2) + number_bytes(value.size() / unit, 4);
    if (value.size() <= 4) {
      head += value + std::string(4 - value.size(), '\0');
      continue;
    }
    head += number_bytes(values_at + values.size(), 4);
    values += value;
    if (values.size() % 2 == 1) values += '\0';  // values begin at even places
  }
  return head + std::string(4, '\0') + values;  // no directory follows
}

std::vector<Entry> main_entries(const ExifTexts& texts, size_t exif_at) {
  constexpr size_t kDotsAnInch = 72, kInch = 2, kCentred = 1;
  std::vector<Entry> out;
  if (!texts.description.empty()) out.push_back(text_entry(kImageDescription, texts.description));
  out.push_back(ratio_entry(kXResolution, kDotsAnInch));
  out.push_back(ratio_entry(kYResolution, kDotsAnInch));
  out.push_back(short_entry(kResolutionUnit, kInch));
  if (!texts.software.empty()) out.push_back(text_entry(kSoftware, texts.software));
  out.push_back(short_entry(kYCbCrPositioning, kCentred));
  out.push_back(long_entry(kExifDirectory, exif_at));
  return out;
}

std::vector<Entry> exif_entries(const ExifTexts& texts, PictureSize size) {
  constexpr size_t kSrgb = 1;
  std::vector<Entry> out = {{kExifVersion, kUndefined, "0232"},
                            {kComponents, kUndefined, std::string("\1\2\3\0", 4)}};  // Y, Cb, Cr
  if (!texts.user_comment.empty()) out.push_back({kUserComment, kUndefined, comment_bytes(texts.user_comment)});
  out.push_back({kFlashpixVersion, kUndefined, "0100"});
  out.push_back(short_entry(kColorSpace, kSrgb));
  out.push_back(long_entry(kWidth, static_cast<size_t>(size.width)));
  out.push_back(long_entry(kHeight, static_cast<size_t>(size.height)));
  return out;
}

}  // namespace

int exif_orientation(std::span<const uint8_t> exif) {
  const auto tiff = TiffBytes::open(exif);
  if (!tiff) return 1;
  const auto entry = tiff->find(tiff->u32(4), kOrientation);
  if (!entry || entry->type != kShort) return 1;
  const uint32_t value = tiff->u16_at_start(*entry);
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

std::vector<uint8_t> write_exif(const ExifTexts& texts, PictureSize size) {
  constexpr size_t kMainAt = 8;
  // How long the main directory is does not depend on where the other one is.
  const size_t exif_at = kMainAt + directory(main_entries(texts, 0), kMainAt).size();
  const std::string block = std::string("MM\0\x2A\0\0\0\x08", kMainAt) +
                            directory(main_entries(texts, exif_at), kMainAt) +
                            directory(exif_entries(texts, size), exif_at);
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
  const auto value = parse_shallow_json<nlohmann::ordered_json>(comment);
  if (!value.is_object() || !value.contains("AIGC")) return "";
  return value["AIGC"].dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace glmimage
