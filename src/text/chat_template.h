#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_tokenizer.h"

namespace glmimage {

// Height and width of a picture in visual tokens of 32 pixels.
struct PromptGrid {
  int64_t height = 0, width = 0;
  bool operator==(const PromptGrid&) const = default;
};

// The small picture that the autoregressive model draws before a large one: about `draft_size`² tokens of the target's
// shape, h = trunc(sqrt(r)·draft_size), w = trunc(sqrt(1/r)·draft_size), r = height/width
// (GlmImageProcessor._get_target_shape, where draft_size is 16). Throws ErrorKind::usage when a side would be 0.
PromptGrid draft_grid(PromptGrid target, int64_t draft_size = 16);

// What a prompt is made of. Text-to-image has a draft and no sources, editing has sources and no draft.
struct PromptParts {
  std::string_view text;  // UTF-8
  PromptGrid target;
  std::optional<PromptGrid> draft;
  std::vector<PromptGrid> sources;
  SpecialTokens mode =
      SpecialTokens::as_text;  // of control tokens spelled out inside `text`; the reference parses them
};

// Ids for the autoregressive model, (1, T).
struct PromptTokens {
  std::vector<int64_t> ids;
};

// The control ids that the model's config.json names (image_start_token_id, image_end_token_id, image_token_id).
struct ControlIds {
  int64_t begin = 0, end = 0, image = 0;
};

// Builds the model's prompt as the published processor does:
//   per source: <begin> <image>×(height·width) <end>; then TEXT <sop>H W<eop>; with a draft <sop>h w<eop>; then
//   <begin>.
// The published chat_template.jinja is not run: it adds no roles, blanks or line ends, and another one is ignored.
class ChatTemplate {
 public:
  // Reads tokenizer.json and the names of the control tokens from tokenizer_config.json of a checkpoint's processor/
  // folder. Throws ErrorKind::checkpoint when names and ids do not agree with the model's.
  static ChatTemplate open(const std::filesystem::path& processor_folder, const ControlIds& model);

  // For every text without spelled-out special tokens the ids equal the reference's. Throws ErrorKind::usage when the
  // text is not UTF-8 or holds a control token that the tokenizer does not mark as special.
  PromptTokens build(const PromptParts& parts) const;

  const BpeTokenizer& tokenizer() const { return tokenizer_; }

 private:
  ChatTemplate(BpeTokenizer tokenizer, const ControlIds& model) : tokenizer_(std::move(tokenizer)), control_(model) {}
  std::vector<int64_t> user_text(const PromptParts& parts) const;
  void append_grid(PromptGrid grid, std::vector<int64_t>& ids) const;
  void refuse_control_tokens(const std::vector<int64_t>& text) const;
  bool is_control(int64_t id) const;

  BpeTokenizer tokenizer_;
  ControlIds control_;
  int64_t grid_begin_ = 0, grid_end_ = 0;  // <sop>, <eop>
  std::vector<int64_t> prefix_;  // what the tokenizer puts before a text of its own accord; published: nothing
};

}  // namespace glmimage
