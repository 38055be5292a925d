#include "text/utf8.h"

#include <cstdio>

#include "core/error.h"

namespace glmimage {
namespace {

unsigned char byte_at(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

}  // namespace

void require_utf8(std::string_view text, const std::string& what) {
  const size_t position = find_invalid_utf8(text);
  if (position == std::string_view::npos) return;
  char byte[8];
  std::snprintf(byte, sizeof byte, "0x%02x", byte_at(text, position));
  fail(ErrorKind::usage, what, " should be UTF-8, but byte ", position, " of ", text.size(), " (", byte,
       ") is not part of a valid character; is the text in another encoding?");
}

char32_t code_point_before(std::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (byte_at(text, start) & 0xc0) == 0x80) --start;
  return next_code_point(text, start);
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
