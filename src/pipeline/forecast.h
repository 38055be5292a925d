#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pipeline/activations.h"
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
  RequestShape largest;          // request
  std::vector<StageNeed> needs;  // of its stages
  int64_t weight_bytes = 0;      // of all parts, in the types they are to have
};

// Throws ErrorKind::checkpoint; of sizes out of range ErrorKind::usage.
Forecast forecast_memory(const PipelineOptions& options, const Adapters& adapters);

// A plan, and how many requests may have their visual tokens written together in it.
struct BatchPlan {
  MemoryPlan plan;
  int64_t together = 1;
};

// plan_memory, with as many requests of `options.largest.batch` together as there is room for beside weights that all
// stay: where they come and go, requests are drawn one by one. `free` as in plan_memory, whose errors are these.
BatchPlan plan_batch(const Forecast& forecast, const PipelineOptions& options, std::optional<int64_t> free);

}  // namespace glmimage
