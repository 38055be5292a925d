#include "core/terminal_text.h"

#include <cstdio>

#include "core/utf8.h"

namespace glmimage {
namespace {

// C0, DEL, C1, the line separators, and what turns the direction of writing around.
bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

std::string terminal_text(std::string_view text, size_t most) {
  const std::string valid = replace_invalid_utf8(text.substr(0, most + 4));
  std::string out;
  for (size_t at = 0; at < valid.size();) {
    if (out.size() >= most) return out + "…";
    const char32_t c = next_code_point(valid, at);
    if (c == '\n' || c == '\t') {
      out += c == '\n' ? "\\n" : "\\t";
    } else if (is_control(c)) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      append_utf8(out, c);
    }
  }
  return text.size() > most + 4 ? out + "…" : out;
}

}  // namespace glmimage
