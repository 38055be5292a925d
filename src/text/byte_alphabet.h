#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace glmimage {

// The byte alphabet of byte-level BPE (Radford et al. 2019, GPT-2): every byte is written as one printable character.
// Printable Latin-1 bytes stand for themselves, the other 68 for U+0100 and up, in order of the byte.
char32_t byte_to_character(unsigned char byte);
std::optional<unsigned char> character_to_byte(char32_t character);

// Appends the characters of all bytes of `raw`.
void append_byte_characters(std::string& out, std::string_view raw);

// The 256 characters in the order of their code points, UTF-8 encoded.
std::vector<std::string> byte_alphabet();

}  // namespace glmimage
