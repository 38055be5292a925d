#include "text/bpe_model.h"

#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

constexpr int64_t kLargestId = (int64_t{1} << 24) - 1;  // a bound on the memory that a broken file can ask for

}  // namespace

BpeModel::BpeModel(TokenizerFile& file) : merges_(file.merges.size()) {
  read_settings(file.json.object("model"));
  read_vocabulary(file);
  read_merges(file);
}

void BpeModel::read_settings(const JsonObject& model) {
  const std::string type = model.text_or("type", "BPE");
  if (type != "BPE") model.reject("type", concat("is '", type, "'; only BPE is supported"));
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.text_or(affix, "").empty()) model.reject(affix, "is set, which is not supported");
  }
  if (model.number_or("dropout", 0) != 0) model.reject("dropout", "is set, which is not supported");
  if (model.boolean_or("byte_fallback", false)) model.reject("byte_fallback", "is true, which is not supported");
  ignore_merges_ = model.boolean_or("ignore_merges", false);
  fuse_unknown_ = model.boolean_or("fuse_unk", false);
  unknown_token_ = model.text_or("unk_token", "");
}

void BpeModel::read_vocabulary(TokenizerFile& file) {
  if (file.vocabulary.empty()) file.json.reject("model.vocab", "is missing or empty");
  int64_t largest = 0;
  for (const auto& [token, id] : file.vocabulary) {
    if (id < 0 || id > kLargestId) file.json.reject("model.vocab", concat("gives '", token, "' the id ", id));
    largest = std::max(largest, id);
  }
  tokens_.resize(static_cast<size_t>(largest) + 1);
  std::vector<bool> taken(tokens_.size());
  ids_.reserve(file.vocabulary.size());
  for (auto& [token, id] : file.vocabulary) {
    if (taken[id])
      file.json.reject("model.vocab", concat("gives the id ", id, " to '", tokens_[id], "' and '", token, "'"));
    taken[id] = true;
    tokens_[id] = std::move(token);
    if (!ids_.emplace(tokens_[id], static_cast<int32_t>(id)).second) {
      file.json.reject("model.vocab", concat("lists '", tokens_[id], "' twice"));
    }
  }
  low_characters_.fill(-1);
  for (char32_t c = 0; c < low_characters_.size(); ++c) {
    std::string encoded;
    append_utf8(encoded, c);
    if (auto id = find(encoded)) low_characters_[c] = static_cast<int32_t>(*id);
  }
  if (unknown_token_.empty()) return;
  const auto id = find(unknown_token_);
  if (!id) file.json.reject("model.unk_token", concat("is '", unknown_token_, "', which is not in the vocabulary"));
  unknown_ = static_cast<int32_t>(*id);
}

void BpeModel::read_merges(const TokenizerFile& file) {
  std::string joined;
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto& [left, right] = file.merges[rank];
    joined.assign(left).append(right);
    const auto left_id = ids_.find(left), right_id = ids_.find(right), joined_id = ids_.find(joined);
    if (left_id == ids_.end() || right_id == ids_.end() || joined_id == ids_.end()) {
      file.json.reject("model.merges", concat("joins '", left, "' and '", right, "' at ", rank,
                                              ", but not all of the two and '", joined, "' are in the vocabulary"));
    }
    merges_.set(left_id->second, right_id->second, {static_cast<int32_t>(rank), joined_id->second});
  }
}

std::optional<int64_t> BpeModel::find(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional<int64_t>(it->second);
}

std::optional<int64_t> BpeModel::find_whole(std::string_view word) const {
  return ignore_merges_ ? find(word) : std::nullopt;
}

const std::string* BpeModel::token(int64_t id) const {
  if (id < 0 || id >= static_cast<int64_t>(tokens_.size()) || tokens_[id].empty()) return nullptr;
  return &tokens_[id];
}

std::optional<BpeModel::Merge> BpeModel::merge_of(int32_t left, int32_t right) const {
  const PairMap::Value* found = merges_.find(left, right);
  return found ? std::optional<Merge>(Merge{found->first, found->second}) : std::nullopt;
}

std::vector<int32_t> BpeModel::characters(std::string_view word) const {
  std::vector<int32_t> ids;
  ids.reserve(word.size());
  bool after_unknown = false;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(word, at);
    int32_t id = -1;
    if (c < low_characters_.size()) {
      id = low_characters_[c];
    } else if (auto found = find(word.substr(begin, at - begin))) {
      id = static_cast<int32_t>(*found);
    }
    if (id >= 0) {
      ids.push_back(id);
    } else if (unknown_ && !(after_unknown && fuse_unknown_)) {
      ids.push_back(*unknown_);
    }
    after_unknown = id < 0;
  }
  return ids;
}

void BpeModel::append_ids(std::string_view word, std::vector<int64_t>& out) const {
  std::vector<int32_t> ids = characters(word);
  if (ids.size() <= kShort) {
    merge_short(ids);
  } else {
    merge_long(ids);
  }
  out.insert(out.end(), ids.begin(), ids.end());
}

// Again and again joins the pair of the best rank, the leftmost of equals.
void BpeModel::merge_short(std::vector<int32_t>& ids) const {
  while (ids.size() > 1) {
    std::optional<Merge> best;
    size_t where = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto merge = merge_of(ids[i], ids[i + 1]);
      if (merge && (!best || merge->rank < best->rank)) {
        best = merge;
        where = i;
      }
    }
    if (!best) return;
    ids[where] = best->id;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(where) + 1);
  }
}

// The same with a heap over a linked list: n·log n for a word of n characters.
void BpeModel::merge_long(std::vector<int32_t>& ids) const {
  const auto size = static_cast<int32_t>(ids.size());
  std::vector<int32_t> previous(ids.size()), next(ids.size());
  for (int32_t i = 0; i < size; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1 < size ? i + 1 : -1;
  }
  using Entry = std::tuple<int32_t, int32_t, int32_t>;  // rank, position, merged id
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  auto offer = [&](int32_t position) {
    if (position < 0 || next[position] < 0) return;
    if (auto merge = merge_of(ids[position], ids[next[position]])) queue.emplace(merge->rank, position, merge->id);
  };
  for (int32_t i = 0; i + 1 < size; ++i) offer(i);
  constexpr int32_t kGone = -1;
  while (!queue.empty()) {
    const auto [rank, position, id] = queue.top();
    queue.pop();
    const int32_t right = ids[position] == kGone ? -1 : next[position];
    if (right < 0) continue;
    const auto merge = merge_of(ids[position], ids[right]);
    if (!merge || merge->rank != rank || merge->id != id) continue;  // the pair changed since it was queued
    ids[position] = id;
    ids[right] = kGone;
    next[position] = next[right];
    if (next[right] >= 0) previous[next[right]] = position;
    offer(previous[position]);
    offer(position);
  }
  std::erase(ids, kGone);
}

}  // namespace glmimage
