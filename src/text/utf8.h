#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/utf8.h"

// What tokenizers need to know of characters; UTF-8 itself is core's.
namespace glmimage {

// Throws ErrorKind::usage naming `what` and the place when `text` is not valid UTF-8.
void require_utf8(std::string_view text, const std::string& what);

// The code point that ends at `end` (> 0). The text must be valid.
char32_t code_point_before(std::string_view text, size_t end);

// Unicode's White_Space property: what \s means in tokenizer.json.
bool is_white_space(char32_t code_point);

// The text without white space at its beginning / end.
std::string_view without_leading_space(std::string_view text);
std::string_view without_trailing_space(std::string_view text);

}  // namespace glmimage
