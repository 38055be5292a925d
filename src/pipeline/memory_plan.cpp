#include "pipeline/memory_plan.h"

#include <algorithm>

#include "core/error.h"

namespace glmimage {
namespace {

bool contains(const StageNeed& need, WeightPart part) {
  return std::find(need.parts.begin(), need.parts.end(), part) != need.parts.end();
}

// Frame, held layers, and room for the largest of those that take turns.
int64_t running_bytes(const PartCost& cost, const PartPlan& plan) {
  const auto streamed = cost.layers.begin() + static_cast<std::ptrdiff_t>(plan.held);
  const int64_t turn = streamed == cost.layers.end() ? 0 : *std::max_element(streamed, cost.layers.end());
  return cost.frame + cost.layers_from(0, plan.held) + turn;
}

int64_t stage_peak(const AllCosts& costs, const StageNeed& need, const MemoryPlan& plan) {
  int64_t weights = 0, bringing = 0, unpacking = 0;
  for (size_t i = 0; i < kWeightParts; ++i) {
    const bool runs = contains(need, static_cast<WeightPart>(i));
    if (runs || plan.parts[i].stays) weights += running_bytes(costs[i], plan.parts[i]);
    if (runs) unpacking = std::max(unpacking, costs[i].unpacking);
    if (runs && !plan.parts[i].stays) bringing = std::max(bringing, costs[i].bringing);
  }
  return weights + std::max(need.total() + unpacking, bringing);
}

void add_up(MemoryPlan& plan, const AllCosts& costs, const std::vector<StageNeed>& needs) {
  plan.stages.clear();
  for (const StageNeed& need : needs) plan.stages.push_back(stage_peak(costs, need, plan));
  plan.peak = plan.stages.empty() ? 0 : *std::max_element(plan.stages.begin(), plan.stages.end());
}

// Holds as many layers during each stage as `budget` allows.
void hold_layers(MemoryPlan& plan, const AllCosts& costs, const std::vector<StageNeed>& needs,
                 std::optional<int64_t> budget) {
  for (const StageNeed& need : needs) {
    for (WeightPart part : need.parts) {
      const size_t i = static_cast<size_t>(part), layers = costs[i].layers.size();
      // All at once is cheaper than all but one: then none takes turns.
      for (size_t held = layers; held > 0; --held) {
        MemoryPlan more = plan;
        more.parts[i].held = held;
        if (budget && stage_peak(costs, need, more) > *budget) continue;
        plan = more;
        break;
      }
    }
  }
}

// Lets whole parts stay, those that are read most often first, as long as every stage fits.
void let_stay(MemoryPlan& plan, const AllCosts& costs, const std::vector<StageNeed>& needs, int64_t budget) {
  for (WeightPart part : {WeightPart::ar, WeightPart::dit, WeightPart::glyph, WeightPart::vae_decoder,
                          WeightPart::visual_tokenizer, WeightPart::vae_encoder}) {
    const size_t i = static_cast<size_t>(part);
    MemoryPlan more = plan;
    more.parts[i] = {.stays = true, .held = costs[i].layers.size()};
    add_up(more, costs, needs);
    if (more.peak <= budget) plan = more;
  }
}

constexpr int64_t kMebibyte = 1 << 20;

// Unset: nobody knows how much there is.
std::optional<int64_t> budget_of(const MemoryLimit& limit, std::optional<int64_t> free) {
  if (limit.kind == MemoryLimit::Kind::budget) return limit.bytes;
  if (!free) return {};
  return *free / 10 * 9;
}

}  // namespace

MemoryPlan plan_resident(const AllCosts& costs, const std::vector<StageNeed>& needs) {
  MemoryPlan plan;
  plan.resident = true;
  int64_t weights = 0;
  for (size_t i = 0; i < kWeightParts; ++i) {
    plan.parts[i] = {.stays = true, .held = costs[i].layers.size()};
    weights += costs[i].resident;
  }
  for (const StageNeed& need : needs) {
    int64_t unpacking = 0;
    for (WeightPart part : need.parts) unpacking = std::max(unpacking, costs[static_cast<size_t>(part)].unpacking);
    plan.stages.push_back(weights + need.total() + unpacking);
  }
  plan.peak = plan.stages.empty() ? weights : *std::max_element(plan.stages.begin(), plan.stages.end());
  return plan;
}

MemoryPlan plan_least(const AllCosts& costs, const std::vector<StageNeed>& needs) {
  MemoryPlan plan;
  add_up(plan, costs, needs);
  return plan;
}

MemoryPlan plan_low(const AllCosts& costs, const std::vector<StageNeed>& needs, std::optional<int64_t> budget) {
  MemoryPlan plan;
  hold_layers(plan, costs, needs, budget);
  add_up(plan, costs, needs);
  return plan;
}

bool fits_resident(const MemoryLimit& limit, const AllCosts& costs, const std::vector<StageNeed>& needs,
                   std::optional<int64_t> free) {
  if (limit.kind == MemoryLimit::Kind::low) return false;
  const std::optional<int64_t> budget = budget_of(limit, free);
  return !budget || plan_resident(costs, needs).peak <= *budget;
}

MemoryPlan plan_memory(const MemoryLimit& limit, const AllCosts& costs, const std::vector<StageNeed>& needs,
                       std::optional<int64_t> free) {
  if (fits_resident(limit, costs, needs, free)) return plan_resident(costs, needs);
  const std::optional<int64_t> budget = budget_of(limit, free);
  if (limit.kind == MemoryLimit::Kind::low) return plan_low(costs, needs, budget);
  const MemoryPlan least = plan_least(costs, needs);
  if (limit.kind == MemoryLimit::Kind::budget && *budget < least.peak) {
    fail(ErrorKind::out_of_memory, "--memory ", *budget / kMebibyte,
         "MiB cannot work: even layer by layer this model needs ", (least.peak + kMebibyte - 1) / kMebibyte,
         "MiB for such a picture");
  }
  MemoryPlan plan = plan_low(costs, needs, budget);
  let_stay(plan, costs, needs, *budget);
  add_up(plan, costs, needs);
  return plan;
}

}  // namespace glmimage
