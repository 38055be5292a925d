#include "pipeline/memory_plan.h"

#include <gmock/gmock.h>

#include "core/error.h"

namespace glmimage {
namespace {

size_t index(WeightPart part) { return static_cast<size_t>(part); }

// Two parts with layers, of 10 + 4 x 5 and 20 + 3 x 30 bytes, and one without.
struct World {
  AllCosts costs;
  std::vector<StageNeed> needs = {
      {.stage = Stage::visual_tokens, .parts = {WeightPart::ar}, .activations = 7, .cache = 3},
      {.stage = Stage::denoise, .parts = {WeightPart::dit}, .activations = 10},
      {.stage = Stage::decode, .parts = {WeightPart::vae_decoder}, .activations = 50}};
  World() {
    costs[index(WeightPart::ar)] = {.frame = 10, .layers = {5, 5, 5, 5}, .resident = 30};
    costs[index(WeightPart::dit)] = {.frame = 20, .layers = {30, 30, 30}, .resident = 110};
    costs[index(WeightPart::vae_decoder)] = {.frame = 8, .layers = {}, .resident = 8};
  }
  MemoryPlan plan(int64_t budget) const {
    return plan_memory({.kind = MemoryLimit::Kind::budget, .bytes = budget}, costs, needs, std::nullopt);
  }
};

TEST(MemoryPlan, AddsUpItsPolicies) {
  const World w;
  EXPECT_THAT(plan_resident(w.costs, w.needs).stages, ::testing::ElementsAre(158, 158, 198));
  EXPECT_THAT(plan_low(w.costs, w.needs, std::nullopt).stages, ::testing::ElementsAre(40, 120, 58));
  EXPECT_THAT(plan_least(w.costs, w.needs).stages, ::testing::ElementsAre(25, 60, 58));
  EXPECT_EQ(plan_least(w.costs, w.needs).peak, 60);
}

TEST(MemoryPlan, KeepsWhatABudgetAllows) {
  const World w;
  EXPECT_TRUE(w.plan(198).resident);
  const MemoryPlan most = w.plan(197);
  EXPECT_FALSE(most.resident);
  EXPECT_TRUE(most.parts[index(WeightPart::ar)].stays);
  EXPECT_EQ(most.parts[index(WeightPart::dit)].held, 3u);
  const MemoryPlan tight = w.plan(95);
  EXPECT_EQ(tight.parts[index(WeightPart::dit)].held, 1u) << "20 + 30 held + 30 in turn + 10";
  EXPECT_LE(tight.peak, 95);
  EXPECT_EQ(w.plan(60).parts[index(WeightPart::dit)].held, 0u);
  EXPECT_EQ(w.plan(60).parts[index(WeightPart::ar)].held, 4u);
  for (int64_t budget = 60; budget < 200; ++budget) EXPECT_LE(w.plan(budget).peak, budget);
}

TEST(MemoryPlan, RefusesABudgetBelowTheLeast) {
  const World w;
  try {
    w.plan(59);
    FAIL() << "59 bytes should not do";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::out_of_memory);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("needs 1MiB"));
  }
}

TEST(MemoryPlan, AutomaticLeavesATenthFree) {
  const World w;
  const auto plan = [&](std::optional<int64_t> free) { return plan_memory({}, w.costs, w.needs, free); };
  EXPECT_TRUE(plan(std::nullopt).resident) << "nobody knows what is free";
  EXPECT_TRUE(plan(220).resident);
  EXPECT_FALSE(plan(210).resident);
  EXPECT_EQ(plan(10).peak, 60) << "it is tried all the same";
}

TEST(MemoryPlan, BringingCountsOnlyWhereItIsHigher) {
  World w;
  w.costs[index(WeightPart::dit)].bringing = 25;
  w.costs[index(WeightPart::ar)].bringing = 9;
  EXPECT_THAT(plan_low(w.costs, w.needs, std::nullopt).stages, ::testing::ElementsAre(40, 135, 58));
}

}  // namespace
}  // namespace glmimage
