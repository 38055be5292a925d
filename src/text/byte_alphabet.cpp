#include "text/byte_alphabet.h"

#include <algorithm>
#include <array>

#include "text/utf8.h"

namespace glmimage {
namespace {

constexpr char32_t kFirstSubstitute = 0x100, kEnd = 0x100 + 68;

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int, kEnd> byte{};
  std::array<std::string, 256> encoded;

  Alphabet() {
    byte.fill(-1);
    char32_t substitute = kFirstSubstitute;
    for (int b = 0; b < 256; ++b) {
      character[b] = stands_for_itself(b) ? static_cast<char32_t>(b) : substitute++;
      byte[character[b]] = b;
      append_utf8(encoded[b], character[b]);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

char32_t byte_to_character(unsigned char byte) { return alphabet().character[byte]; }

std::optional<unsigned char> character_to_byte(char32_t character) {
  if (character >= kEnd || alphabet().byte[character] < 0) return std::nullopt;
  return static_cast<unsigned char>(alphabet().byte[character]);
}

void append_byte_characters(std::string& out, std::string_view raw) {
  const Alphabet& table = alphabet();
  for (char c : raw) out += table.encoded[static_cast<unsigned char>(c)];
}

std::vector<std::string> byte_alphabet() {
  std::array<char32_t, 256> characters = alphabet().character;
  std::sort(characters.begin(), characters.end());
  std::vector<std::string> out(256);
  for (int i = 0; i < 256; ++i) append_utf8(out[i], characters[i]);
  return out;
}

}  // namespace glmimage
