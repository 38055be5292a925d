#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/bpe_trainer.h"

namespace glmimage {

// What the files of a new checkpoint's processor/ say.
struct ProcessorOptions {
  BpeTrainerOptions tokenizer;
  int64_t begin = 0, end = 0;  // indices of the dit tokens that begin and end a picture
  nlohmann::json
      picture_settings;  // the content of preprocessor_config.json, from the visual tokenizer's configuration
};

// Trains a tokenizer on `texts` and writes processor/: tokenizer.json, tokenizer_config.json, chat_template.jinja,
// preprocessor_config.json. Loadable by ChatTemplate and by transformers' GlmImageProcessor. Creates the folder.
// Throws ErrorKind::io when it cannot write, ErrorKind::internal when begin or end is not one of the dit tokens.
TrainedVocabulary write_processor(const std::filesystem::path& folder, const std::vector<std::string>& texts,
                                  const ProcessorOptions& options);

// Writes tokenizer/: the published ByT5 settings. Loadable by ByteTokenizer and by transformers' ByT5Tokenizer.
void write_byte_tokenizer(const std::filesystem::path& folder);

}  // namespace glmimage
