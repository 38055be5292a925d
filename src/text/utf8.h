#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace glmimage {

// Index of the first byte that is not part of a well-formed UTF-8 sequence (Unicode 3.9, table 3-7), or npos.
size_t find_invalid_utf8(std::string_view text);

// Throws ErrorKind::usage naming `what` and the place when `text` is not valid UTF-8.
void require_utf8(std::string_view text, const std::string& what);

// The code point at `position`, which moves behind it. The text must be valid there.
char32_t next_code_point(std::string_view text, size_t& position);

// The code point that ends at `end` (> 0). The text must be valid.
char32_t code_point_before(std::string_view text, size_t end);

void append_utf8(std::string& out, char32_t code_point);

// The text with every maximal ill-formed part replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

// Unicode's White_Space property: what \s means in tokenizer.json.
bool is_white_space(char32_t code_point);

// The text without white space at its beginning / end.
std::string_view without_leading_space(std::string_view text);
std::string_view without_trailing_space(std::string_view text);

}  // namespace glmimage
