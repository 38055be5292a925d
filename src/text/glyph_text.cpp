#include "text/glyph_text.h"

#include "text/utf8.h"

namespace glmimage {
namespace {

struct QuoteKind {
  std::string_view open, close;
};
constexpr QuoteKind kKinds[] = {{"'", "'"}, {"\u201c", "\u201d"}, {"\"", "\""}, {"\u300c", "\u300d"}};

// Pairs with no quote of the same kind between them, from the left. UTF-8 needs no decoding here: a character's bytes
// never occur inside another's.
void append_quoted(std::string_view prompt, const QuoteKind& kind, std::vector<std::string>& out) {
  constexpr size_t kNone = std::string_view::npos;
  size_t open = prompt.find(kind.open);
  while (open != kNone) {
    const size_t begin = open + kind.open.size();
    const size_t close = prompt.find(kind.close, begin);
    if (close == kNone) return;
    const size_t again = kind.open == kind.close ? kNone : prompt.find(kind.open, begin);
    if (again < close) {
      open = again;  // nested: only the innermost pair counts
      continue;
    }
    out.emplace_back(prompt.substr(begin, close - begin));
    open = prompt.find(kind.open, close + kind.close.size());
  }
}

}  // namespace

std::vector<std::string> glyph_strings(std::string_view prompt) {
  std::vector<std::string> strings;
  for (const QuoteKind& kind : kKinds) append_quoted(prompt, kind, strings);
  if (strings.empty()) strings.emplace_back();
  return strings;
}

std::vector<std::vector<int64_t>> glyph_ids(const ByteTokenizer& tokenizer, std::string_view prompt,
                                            int64_t max_length) {
  require_utf8(prompt, "the prompt");
  const std::vector<std::string> strings = glyph_strings(prompt);
  const bool leading_pad = strings.size() % 2 == 0;
  std::vector<std::vector<int64_t>> out;
  for (const std::string& string : strings) {
    std::vector<int64_t>& ids = out.emplace_back(tokenizer.encode(string, max_length));
    if (leading_pad) ids.insert(ids.begin(), tokenizer.pad_id());
  }
  return out;
}

std::vector<std::vector<int64_t>> glyph_ids(std::string_view prompt, int64_t max_length) {
  static const ByteTokenizer published;
  return glyph_ids(published, prompt, max_length);
}

}  // namespace glmimage
