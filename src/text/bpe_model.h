#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/pair_map.h"
#include "text/tokenizer_file.h"

namespace glmimage {

// The "model" of a tokenizer.json of type BPE: a vocabulary and a ranked list of merges (Sennrich et al. 2016).
// Const after loading. Not copyable: the map of tokens points into the list of tokens.
class BpeModel {
 public:
  // Moves the vocabulary out of `file`. Throws ErrorKind::checkpoint for another type, for settings that are not
  // supported (dropout, byte_fallback, affixes) and for merges outside the vocabulary.
  explicit BpeModel(TokenizerFile& file);
  BpeModel(const BpeModel&) = delete;
  BpeModel& operator=(const BpeModel&) = delete;

  // Appends the ids of one word, a text in the model's alphabet. Characters outside the vocabulary become the unknown
  // token, or nothing if there is none (as in the reference).
  void append_ids(std::string_view word, std::vector<int64_t>& out) const;
  // With ignore_merges: the id of a word that is in the vocabulary as a whole.
  std::optional<int64_t> find_whole(std::string_view word) const;

  std::optional<int64_t> find(std::string_view token) const;
  const std::string* token(int64_t id) const;  // null when there is none
  size_t size() const { return ids_.size(); }
  int64_t id_limit() const { return static_cast<int64_t>(tokens_.size()); }  // one more than the largest id

 private:
  struct Merge {
    int32_t rank, id;
  };
  void read_settings(const JsonObject& model);
  void read_vocabulary(TokenizerFile& file);
  void read_merges(const TokenizerFile& file);
  std::optional<Merge> merge_of(int32_t left, int32_t right) const;
  std::vector<int32_t> characters(std::string_view word) const;
  static constexpr size_t kShort = 32;  // up to here a scan for the best pair beats a heap
  void merge_short(std::vector<int32_t>& ids) const;
  void merge_long(std::vector<int32_t>& ids) const;

  bool ignore_merges_ = false, fuse_unknown_ = false;
  std::string unknown_token_;
  std::optional<int32_t> unknown_;
  std::vector<std::string> tokens_;  // by id; empty where an id is not used
  std::unordered_map<std::string_view, int32_t> ids_;
  std::array<int32_t, 0x200> low_characters_;  // ids of the characters below U+0200: the whole byte alphabet
  PairMap merges_;                             // (left, right) -> (rank, merged id)
};

}  // namespace glmimage
