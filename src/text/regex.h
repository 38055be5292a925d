#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace glmimage {

// A half-open range of bytes.
struct Span {
  size_t begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

// A compiled pattern in the syntax that tokenizer.json uses (Oniguruma's Ruby syntax with Unicode classes), run by
// PCRE2 with its just-in-time compiler. Where the two engines read a pattern differently it is rewritten; what cannot
// be rewritten is refused. Copies share the compiled code; all functions may be called from several threads at once.
class Regex {
 public:
  // Throws ErrorKind::checkpoint beginning with `where` when the pattern is broken or uses an unsupported construct.
  static Regex compile(const std::string& pattern, const std::string& where);
  // Matches exactly this text.
  static Regex literal(const std::string& text, const std::string& where);

  // All non-overlapping matches from left to right. `subject` must be valid UTF-8. Throws ErrorKind::usage when the
  // text needs more backtracking than PCRE2 allows.
  std::vector<Span> find_all(std::string_view subject) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

// The pattern as PCRE2 must read it to match what Oniguruma 6.9.10 (Unicode 16) matches; exposed for tests.
std::string to_pcre2_syntax(const std::string& pattern, const std::string& where);

}  // namespace glmimage
