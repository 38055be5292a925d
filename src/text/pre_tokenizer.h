#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"
#include "text/regex.h"

namespace glmimage {

// What becomes of the matches of a Split.
enum class SplitBehavior { isolated, removed, contiguous, merged_with_previous, merged_with_next };

// Cuts at the matches of a pattern (with `invert`, at what lies between them).
struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;
};

// Writes the bytes in the alphabet of byte_alphabet.h, after an optional leading space and an optional split.
struct ByteLevelStep {
  bool add_prefix_space = false;
  std::vector<Regex> pattern;  // none or GPT-2's
};

// The "pre_tokenizer" of a tokenizer.json: cuts a text into the words that BPE works on. Kinds: Sequence, Split,
// ByteLevel, Digits; others are refused by name. Follows the tokenizers library (0.23).
class PreTokenizer {
 public:
  // `file` is the whole tokenizer.json; a missing or null pre_tokenizer keeps the text whole.
  static PreTokenizer from_json(const JsonObject& file);

  // Words of one text (valid UTF-8), in order. They point into `text` or into strings added to `storage`.
  std::vector<std::string_view> words(std::string_view text, std::deque<std::string>& storage) const;

  bool is_byte_level() const { return byte_level_; }

 private:
  void add_steps(const JsonObject& object);
  std::vector<std::variant<SplitStep, ByteLevelStep>> steps_;
  bool byte_level_ = false;
};

// The pieces of [0, size) that a Split with these matches leaves, empty ones removed; exposed for tests.
std::vector<Span> split_at(const std::vector<Span>& matches, size_t size, SplitBehavior behavior, bool invert);

}  // namespace glmimage
