#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/pair_map.h"
#include "text/special_tokens.h"

namespace glmimage {

// One entry of "added_tokens": a text that is found before any other rule applies.
struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool special = false;      // a control token
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space behind it
  bool normalized = false;   // looked for in a second pass, between the tokens that are not
};

// A stretch of text between added tokens, or (token set) an added token.
struct TextPart {
  std::string_view text;
  const AddedToken* token;
};

// Finds added tokens: leftmost first, of several at one place the longest (tokenizers' AddedVocabulary).
class AddedTokens {
 public:
  // `file` is the whole tokenizer.json.
  static AddedTokens from_json(const JsonObject& file);
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // `text` must be valid UTF-8. With SpecialTokens::as_text the special ones stay text.
  std::vector<TextPart> split(std::string_view text, SpecialTokens mode) const;

  const std::vector<AddedToken>& list() const { return tokens_; }

 private:
  // A trie over the bytes of the tokens of one pass; node 0 is the root.
  struct Trie {
    PairMap children;            // (node, byte) -> (child, -)
    std::vector<int32_t> token;  // index of the token that ends at a node, or -1
    bool starts[256] = {};
    void add(const std::string& content, int32_t index);
    int32_t longest_at(std::string_view text, size_t at) const;
  };
  void split_pass(const Trie& trie, const TextPart& part, SpecialTokens mode, std::vector<TextPart>& out) const;

  std::vector<AddedToken> tokens_;
  Trie first_pass_, second_pass_;
};

}  // namespace glmimage
