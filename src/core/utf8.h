#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace glmimage {

// Index of the first byte that is not part of a well-formed UTF-8 sequence (Unicode 3.9, table 3-7), or npos.
size_t find_invalid_utf8(std::string_view text);

// The code point at `position`, which moves behind it. The text must be valid there.
char32_t next_code_point(std::string_view text, size_t& position);

void append_utf8(std::string& out, char32_t code_point);

// The text with every maximal ill-formed part replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

// From and to UTF-16, for file formats that ask for it. What is ill-formed becomes U+FFFD.
std::string utf16_from_utf8(std::string_view text);  // the high byte first
std::string utf8_from_utf16(std::span<const uint8_t> bytes, bool big_endian);

}  // namespace glmimage
