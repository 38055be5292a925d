#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

bool is_word_character(std::string_view text, size_t begin) {
  static const Regex pattern =
      Regex::compile(R"((?!\p{No})[\p{L}\p{M}\p{N}\p{Pc}\x{200c}\x{200d})"
                     R"(\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}])",
                     "word characters");
  size_t end = begin;
  next_code_point(text, end);
  return !pattern.find_all(text.substr(begin, end - begin)).empty();
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  size_t before = begin;
  while (before > 0) {
    --before;
    if ((static_cast<unsigned char>(text[before]) & 0xc0) != 0x80) break;
  }
  return (begin > 0 && is_word_character(text, before)) || (end < text.size() && is_word_character(text, end));
}

}  // namespace

void AddedTokens::Trie::add(const std::string& content, int32_t index) {
  if (token.empty()) token.push_back(-1);
  int32_t node = 0;
  for (char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    const PairMap::Value* child = children.find(node, byte);
    if (!child) {
      children.set(node, byte, {static_cast<int32_t>(token.size()), 0});
      node = static_cast<int32_t>(token.size());
      token.push_back(-1);
    } else {
      node = child->first;
    }
  }
  if (token[node] < 0) token[node] = index;
  starts[static_cast<unsigned char>(content[0])] = true;
}

int32_t AddedTokens::Trie::longest_at(std::string_view text, size_t at) const {
  int32_t node = 0, found = -1;
  for (size_t i = at; i < text.size(); ++i) {
    const PairMap::Value* child = children.find(node, static_cast<unsigned char>(text[i]));
    if (!child) break;
    node = child->first;
    if (token[node] >= 0) found = token[node];
  }
  return found;
}

AddedTokens AddedTokens::from_json(const JsonObject& file) {
  std::vector<AddedToken> tokens;
  if (!file.has("added_tokens")) return AddedTokens(std::move(tokens));
  const nlohmann::json& list = file.value()["added_tokens"];
  if (!list.is_array()) file.reject("added_tokens", "should be a list");
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string prefix = concat("added_tokens[", i, "].");
    if (!list[i].is_object()) file.reject(concat("added_tokens[", i, "]"), "should be an object");
    const JsonObject object(file.file(), prefix, list[i]);
    AddedToken token{object.integer("id"),
                     object.text("content"),
                     object.boolean_or("special", false),
                     object.boolean_or("single_word", false),
                     object.boolean_or("lstrip", false),
                     object.boolean_or("rstrip", false),
                     object.boolean_or("normalized", true)};
    if (token.id < 0 || token.id > INT32_MAX) object.reject("id", "is out of range");
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return AddedTokens(std::move(tokens));
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    (tokens_[i].normalized ? second_pass_ : first_pass_).add(tokens_[i].content, static_cast<int32_t>(i));
  }
}

std::vector<TextPart> AddedTokens::split(std::string_view text, SpecialTokens mode) const {
  std::vector<TextPart> parts{{text, nullptr}};
  for (const Trie* trie : {&first_pass_, &second_pass_}) {
    if (trie->token.empty()) continue;
    std::vector<TextPart> out;
    for (const TextPart& part : parts) split_pass(*trie, part, mode, out);
    parts = std::move(out);
  }
  return parts;
}

void AddedTokens::split_pass(const Trie& trie, const TextPart& part, SpecialTokens mode,
                             std::vector<TextPart>& out) const {
  if (part.token) {
    out.push_back(part);
    return;
  }
  const std::string_view text = part.text;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const int32_t index = trie.starts[static_cast<unsigned char>(text[at])] ? trie.longest_at(text, at) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t begin = at, end = at + token.content.size();
    at = end;  // also behind a match that is not taken: nothing is looked for inside it
    if (token.special && mode == SpecialTokens::as_text) continue;
    if (token.single_word && touches_word(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(done, without_trailing_space(text.substr(0, begin)).size());
    if (token.rstrip) end = text.size() - without_leading_space(text.substr(end)).size();
    if (done < begin) out.push_back({text.substr(done, begin - done), nullptr});
    out.push_back({text.substr(begin, end - begin), &token});
    done = end;
  }
  if (done != text.size()) out.push_back({text.substr(done), nullptr});
}

}  // namespace glmimage
