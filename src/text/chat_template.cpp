#include "text/chat_template.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

constexpr int64_t kLargestSide = 1 << 20;  // in tokens; only guards products against overflow

// The settings beside tokenizer.json; the published names hold where the file or a field is missing.
class Names {
 public:
  explicit Names(const std::filesystem::path& file)
      : config_(std::filesystem::exists(file) ? JsonObject::open(file)
                                              : JsonObject(file, "", nlohmann::json::object())) {}

  // transformers lets the dictionary "extra_special_tokens" override a field of the same name.
  std::string get(const std::string& field, const std::string& published) const {
    if (config_.has("extra_special_tokens") && config_.value()["extra_special_tokens"].is_object()) {
      const JsonObject extra = config_.object("extra_special_tokens");
      if (extra.has(field)) return text(extra, field);
    }
    return config_.has(field) ? text(config_, field) : published;
  }

 private:
  static std::string text(const JsonObject& object, const std::string& field) {
    return object.value()[field].is_object() ? object.object(field).text("content") : object.text(field);
  }
  JsonObject config_;
};

void require_id(const BpeTokenizer& tokenizer, const std::string& name, int64_t id, const char* field) {
  const int64_t found = tokenizer.token_id(name);
  if (found == id) return;
  fail(ErrorKind::checkpoint, tokenizer.file().string(), ": the token '", name, "' has the id ", found, ", but ", field,
       " of the model is ", id, "; do processor/ and vision_language_encoder/ belong to the same checkpoint?");
}

void check_grid(PromptGrid grid, const char* what) {
  if (grid.height < 1 || grid.width < 1 || grid.height > kLargestSide || grid.width > kLargestSide) {
    fail(ErrorKind::usage, "the ", what, " should have at least one token per side, not ", grid.height, " x ",
         grid.width);
  }
}

}  // namespace

PromptGrid draft_grid(PromptGrid target, int64_t draft_size) {
  check_grid(target, "picture");
  const double ratio = static_cast<double>(target.height) / static_cast<double>(target.width);
  const PromptGrid draft{static_cast<int64_t>(std::sqrt(ratio) * static_cast<double>(draft_size)),
                         static_cast<int64_t>(std::sqrt(1 / ratio) * static_cast<double>(draft_size))};
  if (draft.height < 1 || draft.width < 1) {
    fail(ErrorKind::usage, "a picture of ", target.height, " x ", target.width,
         " tokens is too long for its draft of about ", draft_size, " x ", draft_size,
         "; choose sides that differ less");
  }
  return draft;
}

ChatTemplate ChatTemplate::open(const std::filesystem::path& processor_folder, const ControlIds& model) {
  ChatTemplate out(BpeTokenizer::open(processor_folder / "tokenizer.json"), model);
  const BpeTokenizer& tokenizer = out.tokenizer_;
  const Names names(processor_folder / "tokenizer_config.json");

  require_id(tokenizer, names.get("bos_token", dit_token(model.begin)), model.begin, "image_start_token_id");
  require_id(tokenizer, dit_token(model.end), model.end, "image_end_token_id");
  require_id(tokenizer, names.get("image_token", "<|image|>"), model.image, "image_token_id");
  out.grid_begin_ = tokenizer.token_id(names.get("grid_bos_token", "<sop>"));
  out.grid_end_ = tokenizer.token_id(names.get("grid_eos_token", "<eop>"));
  for (int64_t id : {model.begin, model.end, model.image, out.grid_begin_, out.grid_end_}) {
    const AddedToken* token = tokenizer.added_token(id);
    if (!token || token->single_word) {
      fail(ErrorKind::checkpoint, tokenizer.file().string(), ": the control token '", tokenizer.token(id).value_or("?"),
           "' should be an added token without single_word");
    }
  }

  // transformers ignores add_bos_token and add_eos_token beside a tokenizer.json; its post-processor alone counts.
  out.prefix_ = tokenizer.prefix();
  if (!tokenizer.suffix().empty()) {
    fail(ErrorKind::checkpoint, tokenizer.file().string(),
         ": field 'post_processor' appends special tokens, which would follow the begin token of the picture");
  }
  return out;
}

PromptTokens ChatTemplate::build(const PromptParts& parts) const {
  check_grid(parts.target, "picture");
  PromptTokens out;
  if (parts.sources.empty()) out.ids = prefix_;
  for (const PromptGrid& source : parts.sources) {
    check_grid(source, "reference picture");
    out.ids.push_back(control_.begin);
    out.ids.insert(out.ids.end(), static_cast<size_t>(source.height * source.width), control_.image);
    out.ids.push_back(control_.end);
  }
  const std::vector<int64_t> text = user_text(parts);
  out.ids.insert(out.ids.end(), text.begin(), text.end());
  append_grid(parts.target, out.ids);
  if (parts.draft) {
    check_grid(*parts.draft, "draft");
    append_grid(*parts.draft, out.ids);
  }
  out.ids.push_back(control_.begin);
  return out;
}

// The text is tokenised alone: in the reference's one string a control token stands on either side of it, and these cut
// before any other rule. Only their strip flags reach into the text.
std::vector<int64_t> ChatTemplate::user_text(const PromptParts& parts) const {
  std::string_view text = parts.text;
  require_utf8(text, "the prompt");
  if (tokenizer_.added_token(grid_begin_)->lstrip) text = without_trailing_space(text);
  if (!parts.sources.empty() && tokenizer_.added_token(control_.end)->rstrip) text = without_leading_space(text);
  std::vector<int64_t> ids = tokenizer_.encode(text, parts.mode);
  if (parts.mode == SpecialTokens::as_text) refuse_control_tokens(ids);
  return ids;
}

bool ChatTemplate::is_control(int64_t id) const {
  if (id == control_.begin || id == control_.end || id == control_.image || id == grid_begin_ || id == grid_end_)
    return true;
  const AddedToken* token = tokenizer_.added_token(id);
  return token && token->content.starts_with(kDitTokenPrefix);
}

void ChatTemplate::refuse_control_tokens(const std::vector<int64_t>& text) const {
  for (int64_t id : text) {
    if (is_control(id)) {
      fail(ErrorKind::usage, "the prompt spells out the control token '", tokenizer_.token(id).value_or("?"),
           "', which would change the layout of the picture; please write it differently");
    }
  }
}

void ChatTemplate::append_grid(PromptGrid grid, std::vector<int64_t>& ids) const {
  const std::vector<int64_t> sides = tokenizer_.encode(concat(grid.height, " ", grid.width), SpecialTokens::as_text);
  ids.push_back(grid_begin_);
  ids.insert(ids.end(), sides.begin(), sides.end());
  ids.push_back(grid_end_);
}

}  // namespace glmimage
