#include "text/utf8.h"

#include <cstdio>

#include "core/error.h"

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

void require_utf8(std::string_view text, const std::string& what) {
  const size_t position = find_invalid_utf8(text);
  if (position == std::string_view::npos) return;
  char byte[8];
  std::snprintf(byte, sizeof byte, "0x%02x", byte_at(text, position));
  fail(ErrorKind::usage, what, " should be UTF-8, but byte ", position, " of ", text.size(), " (", byte,
       ") is not part of a valid character; is the text in another encoding?");
}

char32_t next_code_point(std::string_view text, size_t& position) {
  const unsigned char lead = byte_at(text, position);
  const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t value = length == 1 ? lead : lead & (0x7f >> length);
  for (size_t k = 1; k < length; ++k) value = value << 6 | (byte_at(text, position + k) & 0x3f);
  position += length;
  return value;
}

char32_t code_point_before(std::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (byte_at(text, start) & 0xc0) == 0x80) --start;
  return next_code_point(text, start);
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

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::string_view without_leading_space(std::string_view text) {
  size_t begin = 0;
  for (size_t next = 0; next < text.size(); begin = next) {
    if (!is_white_space(next_code_point(text, next))) break;
  }
  return text.substr(begin);
}

std::string_view without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const char32_t last = code_point_before(text, text.size());
    if (!is_white_space(last)) break;
    std::string encoded;
    append_utf8(encoded, last);
    text.remove_suffix(encoded.size());
  }
  return text;
}

}  // namespace glmimage
