// Rewrites Oniguruma patterns for PCRE2. What differs, found by comparing both engines on every code point:
//   \s      PCRE2 also counts U+180E;
//   \p{L}, \p{N}   PCRE2 10.42 knows Unicode 14, the tokenizers library Unicode 16: the newer letters are added.
// Everything whose meaning may differ and that no known tokenizer needs is refused by name instead of guessed.
#include <cctype>

#include "core/error.h"
#include "text/regex.h"

namespace glmimage {
namespace {

// Unicode's White_Space property, as the inside of a character class.
constexpr const char* kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
// Letters and numbers assigned in Unicode 15, 15.1 and 16.
constexpr const char* kNewLetters =
    R"(\x{1c89}-\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85})"
    R"(\x{10ec2}-\x{10ec4}\x{1123f}-\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7}\x{113d1})"
    R"(\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33}\x{1342f}\x{13441}-\x{13446})"
    R"(\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}\x{18cff}\x{1b132}\x{1b155}\x{1df25}-\x{1df2a})"
    R"(\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb}\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})";
constexpr const char* kNewNumbers =
    R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59}\x{16130}-\x{16139}\x{16d70}-\x{16d79})"
    R"(\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})";

class Rewriter {
 public:
  Rewriter(const std::string& pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        inside_class(c);
      } else {
        outside_class(c);
      }
    }
    return out_;
  }

 private:
  [[noreturn]] void refuse(const std::string& construct) const {
    fail(ErrorKind::checkpoint, where_, ": the regular expression uses '", construct, "' at byte ", at_,
         ", which is not supported here (pattern: ", in_, ")");
  }
  bool next_is(const char* text) const { return in_.compare(at_, std::char_traits<char>::length(text), text) == 0; }
  void copy(size_t count) {
    out_.append(in_, at_, count);
    at_ += count;
  }

  void inside_class(char c) {
    if (c == '[') refuse("[ inside a class");
    if (next_is("&&")) refuse("&&");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  void outside_class(char c) {
    if (c == '[') {
      in_class_ = true;
      copy(1);
      if (next_is("^")) copy(1);
      if (next_is("]")) refuse("an empty class");
    } else if (next_is("(?")) {
      group();
    } else if (c == '{') {
      repeat();
    } else {
      copy(1);
    }
  }

  void group() {
    for (const char* kind : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)"}) {
      if (next_is(kind)) return copy(std::char_traits<char>::length(kind));
    }
    refuse(in_.substr(at_, 4));
  }

  // {n}, {n,}, {n,m}: the same in both; {,m} and possessive or lazy forms are read differently.
  void repeat() {
    const size_t close = in_.find('}', at_);
    if (close == std::string::npos || in_[at_ + 1] == ',') refuse("{");
    for (size_t i = at_ + 1; i < close; ++i) {
      if (!std::isdigit(static_cast<unsigned char>(in_[i])) && in_[i] != ',') refuse("{");
    }
    if (close + 1 < in_.size() && (in_[close + 1] == '+' || in_[close + 1] == '?'))
      refuse(in_.substr(at_, close + 2 - at_));
    copy(close + 1 - at_);
  }

  void escape() {
    if (at_ + 1 >= in_.size()) refuse("\\");
    const char c = in_[at_ + 1];
    if (c == 's') {
      emit_class(kSpaces, false);
      at_ += 2;
    } else if (c == 'S' && !in_class_) {
      emit_class(kSpaces, true);
      at_ += 2;
    } else if (c == 'p' || c == 'P') {
      property(c == 'P');
    } else if (c == 'u') {
      code_unit();
    } else if (std::isalnum(static_cast<unsigned char>(c)) && std::string("SdDrntfx").find(c) == std::string::npos) {
      refuse(in_.substr(at_, 2));
    } else {
      copy(2);
    }
  }

  void emit_class(const std::string& content, bool negated) {
    out_ += in_class_ ? content : (negated ? "[^" : "[") + content + "]";
  }

  // \p{L}, \p{Lu}: general categories only. Names of scripts mean other sets in the two engines.
  void property(bool negated) {
    const size_t close = in_.find('}', at_);
    if (in_[at_ + 2] != '{' || close == std::string::npos) refuse(in_.substr(at_, 3));
    const std::string name = in_.substr(at_ + 3, close - at_ - 3);
    if (name.empty() || name.size() > 2 || std::string("LMNPSZC").find(name[0]) == std::string::npos) {
      refuse(in_.substr(at_, close + 1 - at_));
    }
    const std::string added = name == "L" ? kNewLetters : name == "N" ? kNewNumbers : "";
    if (!added.empty() && !(negated && in_class_)) {
      emit_class("\\p{" + name + "}" + added, negated);
      at_ = close + 1;
    } else {
      copy(close + 1 - at_);
    }
  }

  void code_unit() {  // \uHHHH
    const std::string digits = in_.substr(at_ + 2, 4);
    for (char d : digits) {
      if (!std::isxdigit(static_cast<unsigned char>(d))) refuse("\\u");
    }
    if (digits.size() != 4) refuse("\\u");
    out_ += "\\x{" + digits + "}";
    at_ += 6;
  }

  const std::string& in_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string to_pcre2_syntax(const std::string& pattern, const std::string& where) {
  return Rewriter(pattern, where).run();
}

}  // namespace glmimage
