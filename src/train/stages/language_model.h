#pragma once

#include <filesystem>
#include <memory>

#include "core/parameters.h"
#include "models/ar/model.h"
#include "models/visual_tokenizer/config.h"
#include "text/chat_template.h"
#include "train/presets.h"
#include "train/stage_options.h"

namespace glmimage::train {

// The language model before the first step, and what reads its prompts.
struct StartedLanguageModel {
  ArModel model;
  ChatTemplate chat;
  ParameterList trained;  // points into the model
};

// That of --init, with its vocabulary; with an adapter where config.lora asks for one, else its text parts are copied
// to out/final. Throws ErrorKind::checkpoint, ErrorKind::usage.
std::unique_ptr<StartedLanguageModel> open_language_model(const StageOptions& options, const Preset& preset);

// To out/final: the model with the visual tokenizer in `tokenizer` beside it, or the adapter.
void export_started_model(const StageOptions& options, ArModel& model, const VisualTokenizerConfig& visual,
                          const std::filesystem::path& tokenizer);

}  // namespace glmimage::train
