#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"

namespace glmimage {

// A tokenizer.json as it is stored. The two long lists are kept out of the JSON tree, which would cost most of the
// loading time of a large vocabulary.
struct TokenizerFile {
  JsonObject json;  // everything else; model.vocab and model.merges are absent here
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // by falling priority

  // Reads both layouts of merges, "a b" and ["a", "b"]. Throws ErrorKind::checkpoint naming file and field.
  static TokenizerFile open(const std::filesystem::path& file);
};

}  // namespace glmimage
