#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/ar/model.h"
#include "train/presets.h"

namespace glmimage::train {

// Writes processor/ and tokenizer/ of a new checkpoint, its BPE trained on `captions`, and returns the language model's
// configuration with the vocabulary filled in.
ArConfig write_text_parts(const std::filesystem::path& checkpoint, const Preset& preset,
                          const std::vector<std::string>& captions);

// Writes vision_language_encoder/: the language model and, beside it, the finished visual tokenizer.
void export_language_model(const std::filesystem::path& folder, const Preset& preset, ArModel& model,
                           const std::filesystem::path& tokenizer);

}  // namespace glmimage::train
