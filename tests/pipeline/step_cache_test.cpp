#include "pipeline/step_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "core/rng.h"
#include "support/goldens.h"

// The caches alone, on stacks of blocks made up here; tests/pipeline/denoise_test.cpp has them in the transformer.
namespace glmimage {
namespace {

using test::relative_error;
using ::testing::ElementsAre;

// Two blocks: what enters step i, and what leaves the first and the last block, as functions of what entered.
struct Stack {
  std::function<at::Tensor(int64_t step)> entering;
  std::function<at::Tensor(int64_t step)> first;  // what the first block adds
  std::function<at::Tensor(int64_t step)> rest;   // what the others add
};

// What a step gave, and which of the blocks ran.
struct Outcome {
  at::Tensor out;
  int64_t blocks = 0;
};

// As DitModel::step goes about it.
Outcome run(const Stack& stack, int64_t step, BlockCache* cache) {
  at::Tensor h = stack.entering(step);
  const std::vector<at::Tensor> adds = {stack.first(step), stack.rest(step)};
  for (int64_t i = 0; i < 2; ++i) {
    if (cache) {
      if (const at::Tensor rest = cache->shortcut(i, h); rest.defined()) return {rest, i};
    }
    h = h + adds.at(static_cast<size_t>(i));
  }
  if (cache) cache->computed(h);
  return {h, 2};
}

std::vector<int64_t> blocks_run(const Stack& stack, const CachePolicy& policy, int64_t steps) {
  StepCache cache(policy, steps);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < steps; ++i) out.push_back(run(stack, i, cache.pass(i, Branch::conditional)).blocks);
  return out;
}

at::Tensor drawn(uint64_t seed, int64_t batch = 1) {  // (batch, 3, 4)
  return at::randn({batch, 3, 4}, make_generator(seed), at::kFloat);
}

std::function<at::Tensor(int64_t)> constant(const at::Tensor& value) {
  return [value](int64_t) { return value; };
}

Stack unchanging() { return {constant(drawn(1)), constant(drawn(2)), constant(drawn(3))}; }

TEST(StepCache, WithoutAMethodEveryPassIsFull) {
  StepCache cache({}, 3);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(cache.pass(i, Branch::conditional), nullptr);
    EXPECT_EQ(cache.pass(i, Branch::unconditional), nullptr);
  }
  EXPECT_EQ(cache.count().passes, 6);
  EXPECT_EQ(cache.count().reused, 0);
}

TEST(StepCache, FirstBlockReusesUpToTheIntervalAndNeverTheLastStep) {
  const CachePolicy policy = {.method = CacheMethod::first_block, .threshold = 0.1, .interval = 3};
  EXPECT_THAT(blocks_run(unchanging(), policy, 9), ElementsAre(2, 1, 1, 2, 1, 1, 2, 1, 2));
  EXPECT_THAT(blocks_run(unchanging(), {.method = CacheMethod::first_block, .interval = 1}, 4),
              ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(blocks_run(unchanging(), policy, 1), ElementsAre(2));
  EXPECT_THAT(blocks_run(unchanging(), policy, 2), ElementsAre(2, 2));
}

TEST(StepCache, FirstBlockWithAThresholdOfZeroReusesNothing) {
  EXPECT_THAT(blocks_run(unchanging(), {.method = CacheMethod::first_block, .threshold = 0.0}, 5),
              ElementsAre(2, 2, 2, 2, 2));
}

// The first block's work grows by 4 % of the first step's: after two steps 8 %, after three 12 %.
TEST(StepCache, FirstBlockComparesWithTheLastFullStep) {
  Stack stack = unchanging();
  stack.first = [](int64_t step) { return drawn(2) * (1 + 0.04 * static_cast<double>(step)); };
  const CachePolicy policy = {.method = CacheMethod::first_block, .threshold = 0.1, .interval = 1000};
  EXPECT_THAT(blocks_run(stack, policy, 8), ElementsAre(2, 1, 1, 2, 1, 1, 2, 2));
}

TEST(StepCache, FirstBlockAddsWhatTheOtherBlocksAddedLast) {
  Stack stack = unchanging();
  stack.entering = [](int64_t step) { return drawn(10 + static_cast<uint64_t>(step)); };
  stack.rest = [](int64_t step) { return drawn(20 + static_cast<uint64_t>(step)); };
  StepCache cache({.method = CacheMethod::first_block, .threshold = 0.1, .interval = 3}, 6);
  for (int64_t i = 0; i < 6; ++i) {
    const Outcome outcome = run(stack, i, cache.pass(i, Branch::conditional));
    const at::Tensor expected = stack.entering(i) + drawn(2) + stack.rest(i < 3 ? 0 : i == 5 ? 5 : 3);
    EXPECT_LT(relative_error(outcome.out, expected), 1e-6) << i;
  }
  EXPECT_EQ(cache.count().reused, 3);
  EXPECT_EQ(cache.count().passes, 6);
}

TEST(StepCache, FirstBlockWaitsForEveryPictureOfABatch) {
  const at::Tensor calm = drawn(2);
  Stack stack = {constant(drawn(1, 2)), {}, constant(drawn(3, 2))};
  stack.first = [&](int64_t step) { return at::cat({calm, drawn(30 + static_cast<uint64_t>(step))}); };
  EXPECT_THAT(blocks_run(stack, {.method = CacheMethod::first_block, .threshold = 0.9}, 4), ElementsAre(2, 2, 2, 2));
  stack.first = constant(at::cat({calm, drawn(30)}));
  EXPECT_THAT(blocks_run(stack, {.method = CacheMethod::first_block, .threshold = 0.9}, 4), ElementsAre(2, 1, 1, 2));
}

TEST(StepCache, BranchesRememberTheirOwn) {
  Stack restless = unchanging();
  restless.first = [](int64_t step) { return drawn(30 + static_cast<uint64_t>(step)); };
  const CachePolicy policy = {.method = CacheMethod::first_block, .threshold = 0.5, .interval = 10};
  StepCache cache(policy, 4);
  std::vector<int64_t> calm, busy;
  for (int64_t i = 0; i < 4; ++i) {
    calm.push_back(run(unchanging(), i, cache.pass(i, Branch::conditional)).blocks);
    busy.push_back(run(restless, i, cache.pass(i, Branch::unconditional)).blocks);
  }
  EXPECT_THAT(calm, ElementsAre(2, 1, 1, 2));
  EXPECT_THAT(busy, ElementsAre(2, 2, 2, 2));
  EXPECT_EQ(cache.count().passes, 8);
  EXPECT_EQ(cache.count().reused, 2);
}

TEST(StepCache, TaylorComputesAtTheInterval) {
  const CachePolicy policy = {.method = CacheMethod::taylor, .interval = 3};
  EXPECT_THAT(blocks_run(unchanging(), policy, 9), ElementsAre(2, 0, 0, 2, 0, 0, 2, 0, 2));
  EXPECT_THAT(blocks_run(unchanging(), policy, 2), ElementsAre(2, 2));
  EXPECT_THAT(blocks_run(unchanging(), policy, 1), ElementsAre(2));
  EXPECT_THAT(blocks_run(unchanging(), {.method = CacheMethod::taylor, .interval = 1}, 3), ElementsAre(2, 2, 2));
}

// Whatever enters. Before the second full step there is no line yet: the first is reused.
TEST(StepCache, TaylorIsExactForBlocksThatAddWhatIsLinearInTheStep) {
  const Stack stack = {[](int64_t step) { return drawn(40 + static_cast<uint64_t>(step)); },
                       [](int64_t step) { return drawn(1) + drawn(2) * static_cast<double>(step); },
                       [](int64_t step) { return drawn(3) * 5 - drawn(4) * static_cast<double>(step); }};
  StepCache cache({.method = CacheMethod::taylor, .interval = 4}, 20);
  for (int64_t i = 0; i < 20; ++i) {
    const Outcome outcome = run(stack, i, cache.pass(i, Branch::conditional)), truth = run(stack, i, nullptr);
    EXPECT_EQ(outcome.blocks, i % 4 == 0 || i == 19 ? 2 : 0) << i;
    if (i >= 1 && i <= 3) {
      EXPECT_LT(relative_error(outcome.out - stack.entering(i), run(stack, 0, nullptr).out - stack.entering(0)), 1e-6);
      EXPECT_GT(relative_error(outcome.out, truth.out), 1e-2) << i;
    } else {
      EXPECT_LT(relative_error(outcome.out, truth.out), 1e-6) << i;
    }
  }
  EXPECT_EQ(cache.count().reused, 14);
}

TEST(StepCache, AnswersInTheModelsType) {
  for (const CacheMethod method : {CacheMethod::first_block, CacheMethod::taylor}) {
    StepCache cache({.method = method, .interval = 3}, 6);
    const Stack stack = {constant(drawn(1).to(at::kBFloat16)), constant(drawn(2).to(at::kBFloat16)),
                         constant(drawn(3).to(at::kBFloat16))};
    for (int64_t i = 0; i < 6; ++i) {
      const Outcome outcome = run(stack, i, cache.pass(i, Branch::conditional));
      EXPECT_EQ(outcome.out.scalar_type(), at::kBFloat16);
      EXPECT_LT(relative_error(outcome.out.to(at::kFloat), run(stack, i, nullptr).out.to(at::kFloat)), 2e-2);
    }
    EXPECT_EQ(cache.count().reused, 3);
  }
}

// Not a number is no small change.
TEST(StepCache, FirstBlockComputesWhatItCannotCompare) {
  Stack stack = unchanging();
  stack.first = constant(at::full({1, 3, 4}, 0.0));
  EXPECT_THAT(blocks_run(stack, {.method = CacheMethod::first_block, .threshold = 100.0}, 3), ElementsAre(2, 2, 2));
}

}  // namespace
}  // namespace glmimage
