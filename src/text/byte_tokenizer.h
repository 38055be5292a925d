#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"

namespace glmimage {

// ByT5's tokenizer (Xue et al. 2022; transformers' ByT5Tokenizer): a UTF-8 byte becomes byte + 3, ids 0..2 are padding,
// end and unknown, 259 and up the extra ids. Their literal spellings inside a text are single ids; by default the first
// three also swallow the white space around them.
class ByteTokenizer {
 public:
  // The published settings: <pad>, </s>, <unk>, and <extra_id_0> .. <extra_id_124>.
  ByteTokenizer();
  // Reads tokenizer_config.json of a checkpoint's tokenizer/ folder. Throws ErrorKind::checkpoint when it describes
  // another kind of tokenizer.
  static ByteTokenizer open(const std::filesystem::path& folder);

  // Ids of one text, truncated to `max_length` ids including the end id, which is appended unless it already is the
  // last one. Throws ErrorKind::usage when the text is not valid UTF-8 or max_length < 1.
  std::vector<int64_t> encode(std::string_view utf8, int64_t max_length = 2048,
                              SpecialTokens mode = SpecialTokens::parse) const;

  int64_t pad_id() const { return pad_id_; }
  int64_t end_id() const { return end_id_; }

 private:
  ByteTokenizer(std::vector<AddedToken> tokens, int64_t pad_id, int64_t end_id);
  AddedTokens tokens_;
  int64_t pad_id_, end_id_;
};

}  // namespace glmimage
