#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/special_tokens.h"

namespace glmimage {

// A byte-pair tokenizer read from a Hugging Face tokenizer.json (the tokenizers library, 0.23). Supported: model BPE
// (both layouts of merges, ignore_merges, unk_token, fuse_unk), added tokens with all their flags, no normalizer,
// the pre-tokenizers of pre_tokenizer.h, the post-processors ByteLevel and TemplateProcessing. Everything else is
// refused by name. Const and cheap to copy; all functions may be called from several threads at once.
class BpeTokenizer {
 public:
  // Throws ErrorKind::checkpoint naming the file and the field.
  static BpeTokenizer open(const std::filesystem::path& tokenizer_json);

  // Ids of a text, without what a TemplateProcessing would add. Throws ErrorKind::usage when it is not valid UTF-8.
  std::vector<int64_t> encode(std::string_view utf8, SpecialTokens mode) const;

  // The id of a token by its exact name; token_id throws ErrorKind::checkpoint when there is none.
  int64_t token_id(const std::string& token) const;
  std::optional<int64_t> find_token(const std::string& token) const;
  // The token with this id as it is spelled in the file (bytes in the byte alphabet), if there is one.
  std::optional<std::string> token(int64_t id) const;

  // The text of these ids, special tokens included; parts that are not valid UTF-8 become U+FFFD, unknown ids nothing.
  std::string decode(const std::vector<int64_t>& ids) const;

  // Ids that the post-processor puts before and behind a text when asked for special tokens; none in the published
  // file.
  const std::vector<int64_t>& prefix() const;
  const std::vector<int64_t>& suffix() const;

  // The added token with this id, or null.
  const AddedToken* added_token(int64_t id) const;
  // One more than the largest id.
  int64_t id_limit() const;
  const std::filesystem::path& file() const;

 private:
  struct State;
  explicit BpeTokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace glmimage
