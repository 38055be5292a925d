#include "train/world/writing.h"

#include "core/error.h"
#include "text/utf8.h"

namespace glmimage::train::world {

const std::u32string& signs_of(Script script) {
  static const std::u32string latin = U"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  return script == Script::latin ? latin : chinese_signs();
}

Writing read_writing(const std::string& text) {
  const auto refuse = [&] {
    fail(ErrorKind::usage, "a text is 1-", kMostLetters, " of A-Z, a-z and 0-9, or 1-", kMostCharacters,
         " of the world's ", chinese_signs().size(), " Chinese characters; this one is \"", replace_invalid_utf8(text),
         "\"");
  };
  if (text.empty() || find_invalid_utf8(text) != std::string::npos) refuse();
  Writing writing;
  writing.script = static_cast<unsigned char>(text[0]) < 0x80 ? Script::latin : Script::chinese;
  const std::u32string& signs = signs_of(writing.script);
  for (size_t position = 0; position < text.size();) {
    const size_t sign = signs.find(next_code_point(text, position));
    if (sign == std::u32string::npos) refuse();
    writing.signs.push_back(static_cast<int64_t>(sign));
  }
  const int64_t most = writing.script == Script::latin ? kMostLetters : kMostCharacters;
  if (static_cast<int64_t>(writing.signs.size()) > most) refuse();
  return writing;
}

}  // namespace glmimage::train::world
