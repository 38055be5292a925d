#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace glmimage {

struct BpeTrainerOptions {
  int64_t dit_tokens = 0;  // `<|dit_token_0|>` ..: the visual codes, then their control ids; they get the first ids
  int64_t merges = 2000;   // at most; fewer when the texts hold no more pairs
  int64_t min_count = 2;   // how often a pair must occur to be merged
};

// Ids of a trained vocabulary that configuration files need.
struct TrainedVocabulary {
  int64_t size = 0;         // number of ids
  int64_t end_of_text = 0;  // <|endoftext|>: pad_token_id of the language model
  int64_t image = 0;        // <|image|>: image_token_id
};

// The merges of byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) over the words that GLM-4's split leaves:
// again and again the most frequent pair, of equals the one whose parts were known first. Parts are in the byte
// alphabet. Deterministic. Throws ErrorKind::usage when a text is not valid UTF-8.
std::vector<std::pair<std::string, std::string>> train_bpe(const std::vector<std::string>& texts,
                                                           const BpeTrainerOptions& options);

// Trains on `texts` and writes a tokenizer.json for BpeTokenizer and the tokenizers library. Order of ids: dit tokens,
// 256 bytes, merged tokens, then the special tokens of the published model: <|endoftext|>, [MASK], [gMASK], [sMASK],
// <sop>, <eop>, roles, begin and end of image and video, <|image|>, <|video|>. Throws ErrorKind::io when it cannot
// write.
TrainedVocabulary write_bpe_tokenizer(const std::filesystem::path& file, const std::vector<std::string>& texts,
                                      const BpeTrainerOptions& options);

}  // namespace glmimage
