#pragma once

#include <vector>

#include "pipeline/adapters.h"
#include "pipeline/memory_plan.h"
#include "pipeline/models.h"
#include "pipeline/pipeline.h"

namespace glmimage {

// What a checkpoint will need, from configurations and headers alone.
struct Forecast {
  at::ScalarType dtype;          // as asked for, or chosen by device and memory
  Models stored;                 // mapped, as the files have them
  Models sketch;                 // as they are to be, without values
  AllCosts costs;                // of the weights
  std::vector<StageNeed> needs;  // of the largest request's stages
  int64_t weight_bytes = 0;      // of all parts, in the types they are to have
};

// Throws ErrorKind::checkpoint; of sizes out of range ErrorKind::usage.
Forecast forecast_memory(const PipelineOptions& options, const Adapters& adapters);

}  // namespace glmimage
