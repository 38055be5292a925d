#include "text/bpe_trainer.h"

#include <algorithm>
#include <deque>
#include <map>
#include <queue>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "core/json.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizer.h"
#include "text/special_tokens.h"
#include "text/utf8.h"

namespace glmimage {
namespace {

using nlohmann::json;

// The split of GLM-4: contractions, words with one leading sign, up to three digits, signs, line ends, blanks.
constexpr const char* kSplit =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr const char* kSpecialTokens[] = {"<|endoftext|>",
                                          "[MASK]",
                                          "[gMASK]",
                                          "[sMASK]",
                                          "<sop>",
                                          "<eop>",
                                          "<|system|>",
                                          "<|user|>",
                                          "<|assistant|>",
                                          "<|observation|>",
                                          "<|begin_of_image|>",
                                          "<|end_of_image|>",
                                          "<|begin_of_video|>",
                                          "<|end_of_video|>",
                                          "<|image|>",
                                          "<|video|>"};

json pre_tokenizer_json() {
  const json split{{"type", "Split"}, {"pattern", {{"Regex", kSplit}}}, {"behavior", "Isolated"}, {"invert", false}};
  const json bytes{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", json::array({split, bytes})}};
}

// A different word of the texts: its symbols (indices into the list of known parts) and how often it occurs.
struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

using Pair = std::pair<int32_t, int32_t>;
uint64_t key_of(Pair pair) { return uint64_t(uint32_t(pair.first)) << 32 | uint32_t(pair.second); }

class Trainer {
 public:
  Trainer(const std::vector<std::string>& texts, int64_t min_count) : parts_(byte_alphabet()), min_count_(min_count) {
    for (size_t i = 0; i < parts_.size(); ++i) known_[parts_[i]] = static_cast<int32_t>(i);
    count_words(texts);
    for (size_t w = 0; w < words_.size(); ++w) change_counts(w, +1);
    for (const auto& [key, pair] : pairs_) offer(key);
  }

  // The next merge, or false when no pair is frequent enough.
  bool merge(std::pair<std::string, std::string>& out) {
    while (!queue_.empty()) {
      const auto [count, inverted_first, inverted_second] = queue_.top();
      queue_.pop();
      const Pair pair{-inverted_first, -inverted_second};
      const auto found = pairs_.find(key_of(pair));
      if (found == pairs_.end() || found->second.count != count) continue;  // counted anew since
      out = {parts_[pair.first], parts_[pair.second]};
      apply(pair, std::exchange(found->second.words, {}));
      return true;
    }
    return false;
  }

 private:
  struct PairState {
    int64_t count = 0;
    std::vector<uint32_t> words;  // where it occurred; may hold stale and repeated entries
  };

  void count_words(const std::vector<std::string>& texts) {
    const PreTokenizer splitter =
        PreTokenizer::from_json(JsonObject("bpe_trainer", "", json{{"pre_tokenizer", pre_tokenizer_json()}}));
    std::map<std::string, int64_t> counts;  // ordered, so that training does not depend on a hash
    for (const std::string& text : texts) {
      require_utf8(text, "a text to train the tokenizer on");
      std::deque<std::string> storage;
      for (std::string_view word : splitter.words(text, storage)) ++counts[std::string(word)];
    }
    for (const auto& [word, count] : counts) {
      Word& entry = words_.emplace_back(Word{{}, count});
      for (size_t at = 0; at < word.size();) {
        const size_t begin = at;
        next_code_point(word, at);
        entry.symbols.push_back(known_.at(word.substr(begin, at - begin)));
      }
    }
  }

  void change_counts(size_t word, int64_t sign) {
    const Word& w = words_[word];
    for (size_t i = 0; i + 1 < w.symbols.size(); ++i) {
      const uint64_t key = key_of({w.symbols[i], w.symbols[i + 1]});
      PairState& state = pairs_[key];
      state.count += sign * w.count;
      if (sign > 0) state.words.push_back(static_cast<uint32_t>(word));
      touched_.push_back(key);
    }
  }

  void offer(uint64_t key) {
    const int64_t count = pairs_[key].count;
    if (count >= min_count_) queue_.emplace(count, -static_cast<int32_t>(key >> 32), -static_cast<int32_t>(key));
  }

  void apply(Pair pair, std::vector<uint32_t> words) {
    const std::string joined = parts_[pair.first] + parts_[pair.second];
    const auto [entry, added] = known_.emplace(joined, static_cast<int32_t>(parts_.size()));
    if (added) parts_.push_back(joined);
    touched_.clear();
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    for (uint32_t word : words) {
      change_counts(word, -1);
      join(words_[word].symbols, pair, entry->second);
      change_counts(word, +1);
    }
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (uint64_t key : touched_) offer(key);
  }

  static void join(std::vector<int32_t>& symbols, Pair pair, int32_t joined) {
    size_t kept = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      const bool match = i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second;
      symbols[kept++] = match ? joined : symbols[i];
      if (match) ++i;
    }
    symbols.resize(kept);
  }

  std::vector<std::string> parts_;  // bytes in the order of their characters, then what merges made
  std::unordered_map<std::string, int32_t> known_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, PairState> pairs_;
  std::vector<uint64_t> touched_;
  // (count, -first, -second): the most frequent pair, then the one known first. Entries with old counts are skipped.
  std::priority_queue<std::tuple<int64_t, int32_t, int32_t>> queue_;
  int64_t min_count_;
};

json added_token_json(const std::string& content, int64_t id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

json byte_level_json(bool add_prefix_space, bool trim_offsets) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", trim_offsets},
          {"use_regex", true}};
}

json tokenizer_json(json model, json added_tokens) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added_tokens)},
          {"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer_json()},
          {"post_processor", byte_level_json(false, false)},
          {"decoder", byte_level_json(true, true)},
          {"model", std::move(model)}};
}

}  // namespace

std::vector<std::pair<std::string, std::string>> train_bpe(const std::vector<std::string>& texts,
                                                           const BpeTrainerOptions& options) {
  Trainer trainer(texts, std::max<int64_t>(options.min_count, 1));
  std::vector<std::pair<std::string, std::string>> merges;
  std::pair<std::string, std::string> next;
  while (static_cast<int64_t>(merges.size()) < options.merges && trainer.merge(next)) merges.push_back(next);
  return merges;
}

TrainedVocabulary write_bpe_tokenizer(const std::filesystem::path& file, const std::vector<std::string>& texts,
                                      const BpeTrainerOptions& options) {
  json vocabulary = json::object(), merges = json::array(), added = json::array();
  int64_t next_id = 0;
  // The dit tokens are part of the vocabulary as well as added tokens: only so can they have the first ids.
  for (int64_t i = 0; i < options.dit_tokens; ++i) {
    vocabulary[dit_token(i)] = next_id;
    added.push_back(added_token_json(dit_token(i), next_id++));
  }
  for (const std::string& byte : byte_alphabet()) vocabulary[byte] = next_id++;
  for (const auto& [left, right] : train_bpe(texts, options)) {
    if (vocabulary.emplace(left + right, next_id).second) ++next_id;
    merges.push_back(json::array({left, right}));
  }
  TrainedVocabulary out;
  for (const std::string special : kSpecialTokens) {
    if (special == "<|endoftext|>") out.end_of_text = next_id;
    if (special == "<|image|>") out.image = next_id;
    added.push_back(added_token_json(special, next_id++));
  }
  out.size = next_id;
  json model{{"type", "BPE"},
             {"dropout", nullptr},
             {"unk_token", nullptr},
             {"continuing_subword_prefix", nullptr},
             {"end_of_word_suffix", nullptr},
             {"fuse_unk", false},
             {"byte_fallback", false},
             {"ignore_merges", true}};
  model["vocab"] = std::move(vocabulary);
  model["merges"] = std::move(merges);
  write_json_file(file, tokenizer_json(std::move(model), std::move(added)));
  return out;
}

}  // namespace glmimage
