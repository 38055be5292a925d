#include "text/bpe_tokenizer.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "text/bpe_model.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace glmimage {

struct BpeTokenizer::State {
  std::filesystem::path file;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  std::vector<int64_t> prefix, suffix;
  std::unordered_map<std::string_view, const AddedToken*> added_by_name;
  std::unordered_map<int64_t, const AddedToken*> added_by_id;
  int64_t id_limit = 0;

  explicit State(TokenizerFile& source);
  void read_post_processor(const JsonObject& processor);
  void read_template(const JsonObject& processor);
  void append_word(std::string_view word, SpecialTokens mode, std::vector<int64_t>& out) const;
};

namespace {

void check_normalizer(const JsonObject& file) {
  if (!file.has("normalizer")) return;
  const JsonObject normalizer = file.object("normalizer");
  const std::string type = normalizer.text("type");
  const bool empty = type == "Sequence" && normalizer.value().value("normalizers", nlohmann::json::array()).empty();
  if (!empty) normalizer.reject("type", concat("is '", type, "'; only texts that are not normalised are supported"));
}

std::vector<JsonObject> objects(const JsonObject& parent, const std::string& field) {
  if (!parent.has(field) || !parent.value()[field].is_array()) parent.reject(field, "should be a list of objects");
  std::vector<JsonObject> out;
  for (const nlohmann::json& item : parent.value()[field]) {
    if (!item.is_object()) parent.reject(field, "should be a list of objects");
    out.emplace_back(parent.file(), "post_processor." + field + "[].", item);
  }
  return out;
}

}  // namespace

BpeTokenizer::State::State(TokenizerFile& source)
    : file(source.json.file()),
      added(AddedTokens::from_json(source.json)),
      pre_tokenizer(PreTokenizer::from_json(source.json)),
      model(source) {
  for (const AddedToken& token : added.list()) {
    const auto in_vocabulary = model.find(token.content);
    if (in_vocabulary && *in_vocabulary != token.id) {
      fail(ErrorKind::checkpoint, file.string(), ": '", token.content, "' has the id ", *in_vocabulary,
           " in model.vocab and ", token.id, " in added_tokens");
    }
    added_by_name.emplace(token.content, &token);
    added_by_id.emplace(token.id, &token);
    id_limit = std::max(id_limit, token.id + 1);
  }
  id_limit = std::max(id_limit, model.id_limit());
}

void BpeTokenizer::State::read_post_processor(const JsonObject& processor) {
  const std::string type = processor.text("type");
  if (type == "Sequence") {
    for (const JsonObject& step : objects(processor, "processors")) read_post_processor(step);
  } else if (type == "TemplateProcessing") {
    read_template(processor);
  } else if (type != "ByteLevel") {  // ByteLevel only moves offsets
    processor.reject("type", concat("is '", type, "'; supported are ByteLevel, TemplateProcessing and Sequence"));
  }
}

void BpeTokenizer::State::read_template(const JsonObject& processor) {
  std::vector<int64_t> before, behind;
  bool seen = false;
  for (const JsonObject& part : objects(processor, "single")) {
    if (part.has("Sequence")) {
      if (std::exchange(seen, true)) processor.reject("single", "contains the text more than once");
      continue;
    }
    const std::string name = part.object("SpecialToken").text("id");
    const std::vector<int64_t> ids = processor.object("special_tokens").object(name).integers("ids");
    std::vector<int64_t>& side = seen ? behind : before;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!seen) processor.reject("single", "does not contain the text");
  prefix.insert(prefix.begin(), before.begin(), before.end());
  suffix.insert(suffix.end(), behind.begin(), behind.end());
}

void BpeTokenizer::State::append_word(std::string_view word, SpecialTokens mode, std::vector<int64_t>& out) const {
  if (auto id = model.find_whole(word)) {
    // A control token is also a word of the vocabulary; the pre-tokenizer usually cuts it up, but nothing says it must.
    const auto token = added_by_id.find(*id);
    const bool control = token != added_by_id.end() && token->second->special;
    if (!control || mode == SpecialTokens::parse) {
      out.push_back(*id);
      return;
    }
  }
  model.append_ids(word, out);
}

BpeTokenizer BpeTokenizer::open(const std::filesystem::path& tokenizer_json) {
  TokenizerFile source = TokenizerFile::open(tokenizer_json);
  check_normalizer(source.json);
  auto state = std::make_shared<State>(source);
  if (source.json.has("post_processor")) state->read_post_processor(source.json.object("post_processor"));
  return BpeTokenizer(std::move(state));
}

std::vector<int64_t> BpeTokenizer::encode(std::string_view utf8, SpecialTokens mode) const {
  require_utf8(utf8, "the prompt");
  std::vector<int64_t> ids;
  ids.reserve(utf8.size() / 3);
  for (const TextPart& part : state_->added.split(utf8, mode)) {
    if (part.token) {
      ids.push_back(part.token->id);
      continue;
    }
    std::deque<std::string> storage;
    for (std::string_view word : state_->pre_tokenizer.words(part.text, storage)) state_->append_word(word, mode, ids);
  }
  return ids;
}

std::optional<int64_t> BpeTokenizer::find_token(const std::string& token) const {
  const auto added = state_->added_by_name.find(token);
  return added != state_->added_by_name.end() ? std::optional<int64_t>(added->second->id) : state_->model.find(token);
}

int64_t BpeTokenizer::token_id(const std::string& token) const {
  const auto id = find_token(token);
  if (!id)
    fail(ErrorKind::checkpoint, file().string(), ": the token '", token, "' is neither in the vocabulary nor added");
  return *id;
}

std::optional<std::string> BpeTokenizer::token(int64_t id) const {
  if (const AddedToken* added = added_token(id)) return added->content;
  const std::string* token = state_->model.token(id);
  return token ? std::optional<std::string>(*token) : std::nullopt;
}

std::string BpeTokenizer::decode(const std::vector<int64_t>& ids) const {
  std::string bytes;
  for (int64_t id : ids) {
    const auto token = this->token(id);
    if (!token) continue;
    if (added_token(id) || !state_->pre_tokenizer.is_byte_level()) {
      bytes += *token;
      continue;
    }
    for (size_t at = 0; at < token->size();) {
      const char32_t character = next_code_point(*token, at);
      if (auto byte = character_to_byte(character)) {
        bytes += static_cast<char>(*byte);
      } else {
        append_utf8(bytes, character);
      }
    }
  }
  return replace_invalid_utf8(bytes);
}

const std::vector<int64_t>& BpeTokenizer::prefix() const { return state_->prefix; }
const std::vector<int64_t>& BpeTokenizer::suffix() const { return state_->suffix; }
int64_t BpeTokenizer::id_limit() const { return state_->id_limit; }
const std::filesystem::path& BpeTokenizer::file() const { return state_->file; }

const AddedToken* BpeTokenizer::added_token(int64_t id) const {
  const auto it = state_->added_by_id.find(id);
  return it == state_->added_by_id.end() ? nullptr : it->second;
}

}  // namespace glmimage
