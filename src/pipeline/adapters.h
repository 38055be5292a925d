#pragma once

#include <filesystem>
#include <vector>

#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/lora/lora.h"
#include "pipeline/pipeline.h"

namespace glmimage {

// All adapters of a pipeline as one, held to the configurations alone.
struct Adapters {
  void merge_into(ArModel& model) const;  // before it is fused
  void merge_into(DitModel& model) const;

  std::vector<LoraUse> uses;
  LowRankMap dit, ar;
};

// Reads and checks every file before weights are read. Throws ErrorKind::checkpoint, for a scale that is not finite
// ErrorKind::usage.
Adapters read_adapters(const std::vector<LoraChoice>& choices, const std::filesystem::path& model);

}  // namespace glmimage
