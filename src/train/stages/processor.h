#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/ar/model.h"
#include "models/visual_tokenizer/config.h"
#include "train/presets.h"

namespace glmimage::train {

// Writes processor/ and tokenizer/ of a new checkpoint, its BPE trained on `captions`, and returns the language model's
// configuration with the vocabulary filled in.
ArConfig write_text_parts(const std::filesystem::path& checkpoint, const Preset& preset,
                          const std::vector<std::string>& captions);

// The same of a checkpoint that is gone on from: its own processor/ and tokenizer/, copied. Throws
// ErrorKind::checkpoint naming what is missing.
void copy_text_parts(const std::filesystem::path& from, const std::filesystem::path& checkpoint);

// Writes vision_language_encoder/: the language model and, beside it, the finished visual tokenizer in `tokenizer`.
void export_language_model(const std::filesystem::path& folder, ArModel& model, const VisualTokenizerConfig& visual,
                           const std::filesystem::path& tokenizer);

}  // namespace glmimage::train
