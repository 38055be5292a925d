#include "core/utf8.h"

namespace glmimage {
namespace {

unsigned char byte_at(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// Length of the well-formed sequence at `i` (valid = true), or of the maximal ill-formed part there (valid = false).
size_t sequence_at(std::string_view text, size_t i, bool& valid) {
  const unsigned char lead = byte_at(text, i);
  valid = true;
  if (lead < 0x80) return 1;
  size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  valid = false;
  if (length == 0) return 1;
  // The second byte excludes overlong forms, surrogates and everything above U+10FFFF.
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t k = 1; k < length; ++k, low = 0x80, high = 0xbf) {
    if (i + k >= text.size() || byte_at(text, i + k) < low || byte_at(text, i + k) > high) return k;
  }
  valid = true;
  return length;
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  bool valid = true;
  for (size_t i = 0; i < text.size();) {
    const size_t length = sequence_at(text, i, valid);
    if (!valid) return i;
    i += length;
  }
  return std::string_view::npos;
}

char32_t next_code_point(std::string_view text, size_t& position) {
  const unsigned char lead = byte_at(text, position);
  const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t value = length == 1 ? lead : lead & (0x7f >> length);
  for (size_t k = 1; k < length; ++k) value = value << 6 | (byte_at(text, position + k) & 0x3f);
  position += length;
  return value;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool valid = true;
  for (size_t i = 0; i < text.size();) {
    const size_t length = sequence_at(text, i, valid);
    if (valid) {
      out += text.substr(i, length);
    } else {
      append_utf8(out, 0xfffd);
    }
    i += length;
  }
  return out;
}

std::string utf16_from_utf8(std::string_view text) {
  std::string out;
  const auto put = [&](uint32_t unit) {
    out += static_cast<char>(unit >> 8);
    out += static_cast<char>(unit & 0xFF);
  };
  const std::string valid = replace_invalid_utf8(text);
  for (size_t at = 0; at < valid.size();) {
    const char32_t c = next_code_point(valid, at);
    if (c < 0x10000) {
      put(c);
    } else {
      put(0xD800 + ((c - 0x10000) >> 10));
      put(0xDC00 + ((c - 0x10000) & 0x3FF));
    }
  }
  return out;
}

std::string utf8_from_utf16(std::span<const uint8_t> bytes, bool big_endian) {
  const size_t units = bytes.size() / 2;
  const auto unit = [&](size_t i) -> char32_t {
    return i >= units ? 0 : bytes[2 * i + (big_endian ? 0 : 1)] << 8 | bytes[2 * i + (big_endian ? 1 : 0)];
  };
  const auto is_high = [](char32_t u) { return u >= 0xD800 && u < 0xDC00; };
  const auto is_low = [](char32_t u) { return u >= 0xDC00 && u < 0xE000; };
  std::string out;
  for (size_t i = 0; i < units; ++i) {
    if (is_high(unit(i)) && is_low(unit(i + 1))) {
      append_utf8(out, 0x10000 + ((unit(i) - 0xD800) << 10) + (unit(i + 1) - 0xDC00));
      ++i;
    } else {
      append_utf8(out, is_high(unit(i)) || is_low(unit(i)) ? 0xFFFD : unit(i));
    }
  }
  return out;
}

}  // namespace glmimage
