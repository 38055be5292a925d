#include "text/byte_tokenizer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

constexpr int64_t kByteOffset = 3;
constexpr int64_t kFirstExtraId = kByteOffset + 256;
constexpr int64_t kExtraIds = 125;
constexpr int64_t kPad = 0, kEnd = 1, kUnknown = 2;

// Python's str.strip() takes the information separators for white space, too.
bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

std::string_view python_lstrip(std::string_view text) {
  size_t begin = 0;
  for (size_t next = 0; next < text.size(); begin = next) {
    if (!is_python_space(next_code_point(text, next))) return text.substr(begin);
  }
  return text.substr(begin);
}

std::string_view python_rstrip(std::string_view text) {
  size_t end = 0;  // behind the last character that is not white space
  for (size_t next = 0; next < text.size();) {
    if (!is_python_space(next_code_point(text, next))) end = next;
  }
  return text.substr(0, end);
}

AddedToken token_of(int64_t id, const std::string& content) {
  AddedToken token;
  token.id = id;
  token.content = content;
  return token;
}

AddedToken stripping(int64_t id, const std::string& content) {
  AddedToken token = token_of(id, content);
  token.lstrip = token.rstrip = true;
  return token;
}

std::vector<AddedToken> extra_ids(int64_t count) {
  std::vector<AddedToken> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(token_of(kFirstExtraId + i, concat("<extra_id_", i, ">")));
  return tokens;
}

std::vector<AddedToken> published_tokens() {
  std::vector<AddedToken> tokens = extra_ids(kExtraIds);
  for (auto& token : {stripping(kPad, "<pad>"), stripping(kEnd, "</s>"), stripping(kUnknown, "<unk>")}) {
    tokens.push_back(token);
  }
  return tokens;
}

// A token is named by its text or by an object that holds it.
std::string token_text(const JsonObject& config, const std::string& field, const std::string& fallback) {
  if (config.has(field) && config.value()[field].is_object()) return config.object(field).text("content");
  return config.text_or(field, fallback);
}

// "added_tokens_decoder": id -> token with its flags. Tokens that it does not list keep ByT5's defaults.
std::vector<AddedToken> listed_tokens(const JsonObject& config) {
  std::vector<AddedToken> tokens;
  const JsonObject listed = config.object("added_tokens_decoder");
  for (const auto& [key, value] : listed.value().items()) {
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
      listed.reject(key, "should be named by an id");
    }
    const JsonObject object = listed.object(key);
    AddedToken token = token_of(std::stoll(key), object.text("content"));
    token.single_word = object.boolean_or("single_word", false);
    token.lstrip = object.boolean_or("lstrip", false);
    token.rstrip = object.boolean_or("rstrip", false);
    if (token.single_word) listed.reject(key, "is a single_word token, which is not supported");
    if (token.content.empty()) listed.reject(key, "has no content");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<AddedToken> unlisted_tokens(const JsonObject& config) {
  for (const char* field : {"extra_special_tokens", "additional_special_tokens"}) {
    if (!config.has(field) || !config.value()[field].is_array()) continue;
    std::vector<AddedToken> tokens;
    for (const nlohmann::json& item : config.value()[field]) {
      if (!item.is_string() || item.get<std::string>().empty()) config.reject(field, "should be a list of texts");
      tokens.push_back(token_of(kFirstExtraId + static_cast<int64_t>(tokens.size()), item.get<std::string>()));
    }
    return tokens;
  }
  const int64_t count = config.integer_or("extra_ids", kExtraIds);
  if (count < 0 || count > 10000) config.reject("extra_ids", concat("is ", count));
  return extra_ids(count);
}

int64_t id_of(const std::vector<AddedToken>& tokens, const std::string& content) {
  const auto it = std::find_if(tokens.begin(), tokens.end(), [&](const AddedToken& t) { return t.content == content; });
  return it == tokens.end() ? -1 : it->id;
}

}  // namespace

ByteTokenizer::ByteTokenizer() : ByteTokenizer(published_tokens(), kPad, kEnd) {}

ByteTokenizer::ByteTokenizer(std::vector<AddedToken> tokens, int64_t pad_id, int64_t end_id)
    : tokens_(std::move(tokens)), pad_id_(pad_id), end_id_(end_id) {}

ByteTokenizer ByteTokenizer::open(const std::filesystem::path& folder) {
  const JsonObject config = JsonObject::open(folder / "tokenizer_config.json");
  const std::string kind = config.text_or("tokenizer_class", "ByT5Tokenizer");
  if (kind != "ByT5Tokenizer")
    config.reject("tokenizer_class", concat("is '", kind, "'; only ByT5Tokenizer is supported"));

  const bool listed = config.has("added_tokens_decoder");
  std::vector<AddedToken> tokens = listed ? listed_tokens(config) : unlisted_tokens(config);
  const std::string pad = token_text(config, "pad_token", "<pad>"), end = token_text(config, "eos_token", "</s>");
  const std::string unknown = token_text(config, "unk_token", "<unk>");
  for (const auto& token : {stripping(kPad, pad), stripping(kEnd, end), stripping(kUnknown, unknown)}) {
    const bool known = std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& t) { return t.id == token.id; });
    if (!known) tokens.push_back(token);
  }
  const int64_t pad_id = id_of(tokens, pad), end_id = id_of(tokens, end);
  if (pad_id < 0) config.reject("pad_token", concat("is '", pad, "', which added_tokens_decoder does not list"));
  if (end_id < 0) config.reject("eos_token", concat("is '", end, "', which added_tokens_decoder does not list"));
  return ByteTokenizer(std::move(tokens), pad_id, end_id);
}

std::vector<int64_t> ByteTokenizer::encode(std::string_view utf8, int64_t max_length, SpecialTokens mode) const {
  if (max_length < 1) fail(ErrorKind::usage, "the longest glyph text should have at least 1 id, not ", max_length);
  require_utf8(utf8, "the quoted text");
  std::vector<TextPart> parts{{utf8, nullptr}};
  if (mode == SpecialTokens::parse) parts = tokens_.split(utf8, mode);
  for (size_t i = 0; i < parts.size(); ++i) {
    const AddedToken* token = parts[i].token;
    if (!token) continue;
    if (token->rstrip && i + 1 < parts.size() && !parts[i + 1].token)
      parts[i + 1].text = python_lstrip(parts[i + 1].text);
    if (token->lstrip && i > 0 && !parts[i - 1].token) parts[i - 1].text = python_rstrip(parts[i - 1].text);
  }
  std::vector<int64_t> ids;
  for (const TextPart& part : parts) {
    if (part.token) {
      ids.push_back(part.token->id);
    } else {
      for (char c : part.text) ids.push_back(static_cast<unsigned char>(c) + kByteOffset);
    }
  }
  // Room for the end id is kept even when the text ends in its literal.
  if (static_cast<int64_t>(ids.size()) > max_length - 1) ids.resize(static_cast<size_t>(max_length) - 1);
  if (ids.empty() || ids.back() != end_id_) ids.push_back(end_id_);
  return ids;
}

}  // namespace glmimage
