#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "pipeline/memory_limit.h"
#include "pipeline/progress.h"
#include "pipeline/weight_parts.h"

namespace glmimage {

// One stage of a request: which weights it reads, and what else it holds at its highest.
struct StageNeed {
  Stage stage = Stage::load;
  std::vector<WeightPart> parts;
  int64_t activations = 0;
  int64_t cache = 0;  // keys and values that are kept

  int64_t total() const { return activations + cache; }
};

// What becomes of one part.
struct PartPlan {
  bool stays = false;  // between stages and requests, all of it
  size_t held = 0;     // its first layers, for as long as the stage runs; the others only while they run themselves
};

struct MemoryPlan {
  bool resident = false;  // everything stays
  std::array<PartPlan, kWeightParts> parts;
  std::vector<int64_t> stages;  // bytes at the highest, for each StageNeed
  int64_t peak = 0;
};

// Everything stays.
MemoryPlan plan_resident(const AllCosts& costs, const std::vector<StageNeed>& needs);
// One stage at a time. Within `budget` bytes where that is possible: layers that do not fit are streamed.
MemoryPlan plan_low(const AllCosts& costs, const std::vector<StageNeed>& needs, std::optional<int64_t> budget);
// Every layer is there only while it runs: the least there is.
MemoryPlan plan_least(const AllCosts& costs, const std::vector<StageNeed>& needs);

// Whether everything may stay, within a limit. `free`: as below.
bool fits_resident(const MemoryLimit& limit, const AllCosts& costs, const std::vector<StageNeed>& needs,
                   std::optional<int64_t> free);

// The plan for a limit. `free`: bytes that can be had, where known; a tenth of them is left for what no formula sees.
// Throws ErrorKind::out_of_memory for a budget below plan_least, and names that.
MemoryPlan plan_memory(const MemoryLimit& limit, const AllCosts& costs, const std::vector<StageNeed>& needs,
                       std::optional<int64_t> free);

}  // namespace glmimage
