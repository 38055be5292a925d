#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/visual_tokenizer/preprocess.h"
#include "pipeline/models.h"
#include "pipeline/pipeline.h"
#include "pipeline/residency.h"
#include "pipeline/scheduler.h"
#include "text/byte_tokenizer.h"
#include "text/chat_template.h"

namespace glmimage {

// All parts of a checkpoint in the published layout, const once loaded but for weights that come and go.
struct Pipeline::Parts {
  static std::unique_ptr<const Parts> load(const PipelineOptions& options, Progress* progress);

  at::Device device = at::Device(at::kCPU);
  at::ScalarType dtype = at::kFloat;
  int64_t weight_bytes = 0;
  MemoryUse memory;
  std::vector<LoraUse> loras;
  ChatTemplate chat;
  ByteTokenizer byte_tokenizer;
  PreprocessConfig preprocess;
  GenerationConfig generation;
  SchedulerConfig scheduler;
  Models models;
  Residency residency;
};

}  // namespace glmimage
