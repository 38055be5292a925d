#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "pipeline/pipeline.h"
#include "pipeline/scheduler.h"
#include "text/byte_tokenizer.h"
#include "text/chat_template.h"

namespace glmimage {

// All parts of a checkpoint in the published layout, const once loaded.
struct Pipeline::Parts {
  static std::unique_ptr<const Parts> load(const PipelineOptions& options, Progress* progress);

  at::Device device = at::Device(at::kCPU);
  at::ScalarType dtype = at::kFloat;
  int64_t weight_bytes = 0;
  std::vector<LoraUse> loras;
  ChatTemplate chat;
  ByteTokenizer byte_tokenizer;
  PreprocessConfig preprocess;
  GenerationConfig generation;
  SchedulerConfig scheduler;
  ArModel ar;
  VisualTokenizer visual_tokenizer;
  GlyphEncoder glyph;
  DitModel dit;
  Vae vae;
};

}  // namespace glmimage
