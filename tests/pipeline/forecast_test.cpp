#include "pipeline/forecast.h"

#include <gtest/gtest.h>

#include "support/allocation_peak.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

PipelineOptions of_batch(int64_t batch, MemoryLimit memory = {}) {
  PipelineOptions options{.model = test::golden("tiny_a/checkpoint"), .dtype = at::kBFloat16, .loras = {}};
  options.memory = memory;
  options.largest = {.width = 128, .height = 128, .references = {}};
  options.largest.batch = batch;
  return options;
}

BatchPlan plan(const PipelineOptions& options, std::optional<int64_t> free = {}) {
  return plan_batch(forecast_memory(options, {}), options, free);
}

TEST(BatchPlan, TakesMoreForEachPictureUntilThereIsNoRoom) {
  const BatchPlan one = plan(of_batch(1)), three = plan(of_batch(3)), many = plan(of_batch(64));
  EXPECT_EQ(one.together, 1);
  EXPECT_EQ(three.together, 3);
  EXPECT_EQ(many.together, 8) << "as many as one batch ever has";
  // The second stage's keys and values, whose weights count in every plan; the highest stage may be another.
  const auto prior = [](const BatchPlan& p) { return p.plan.stages.front(); };
  EXPECT_LT(prior(one), prior(three));
  EXPECT_NEAR(static_cast<double>(prior(many) - prior(one)), 3.5 * static_cast<double>(prior(three) - prior(one)),
              0.1 * static_cast<double>(prior(many) - prior(one)));
}

TEST(BatchPlan, StaysWithinTheLimit) {
  const int64_t alone = plan(of_batch(1)).plan.peak, most = plan(of_batch(8)).plan.peak;
  int64_t before = 0;
  for (int64_t bytes = alone; bytes <= most; bytes += std::max<int64_t>(1, (most - alone) / 5)) {
    const BatchPlan found = plan(of_batch(8, {MemoryLimit::Kind::budget, bytes}));
    EXPECT_TRUE(found.plan.resident);
    EXPECT_LE(found.plan.peak, bytes);
    EXPECT_GE(found.together, before);
    before = found.together;
  }
  EXPECT_EQ(plan(of_batch(8, {MemoryLimit::Kind::budget, most})).together, 8);
  const BatchPlan tight = plan(of_batch(8, {MemoryLimit::Kind::budget, alone - 1}));
  EXPECT_FALSE(tight.plan.resident);
  EXPECT_EQ(tight.together, 1);
  EXPECT_EQ(plan(of_batch(8, {MemoryLimit::Kind::low})).together, 1);
  EXPECT_EQ(plan(of_batch(8), alone).together, 1) << "a tenth of what is free is left";
}

// Stops every picture once its visual tokens are written.
struct UntilGlyphs : Progress {
  void report(Stage stage, int64_t, int64_t) override { written = stage == Stage::glyphs; }
  bool cancelled() const override { return written; }
  bool written = false;
};

int64_t peak_of_visual_tokens(const Pipeline& pipeline, size_t pictures) {
  std::vector<GenerateTask> tasks(pictures);
  std::vector<UntilGlyphs> progress(pictures);
  for (size_t i = 0; i < pictures; ++i) {
    tasks[i].request = {.prompt = "a cat", .references = {}, .width = 128, .height = 128, .steps = 1, .seed = i};
    tasks[i].observer.progress = &progress[i];
    tasks[i].done = [](const GenerateResult&) { ADD_FAILURE() << "it was to stop"; };
    tasks[i].failed = [](const Error& error) { EXPECT_EQ(error.kind(), ErrorKind::cancelled) << error.what(); };
  }
  const test::AllocationPeak peak;
  pipeline.generate(tasks);
  for (const UntilGlyphs& each : progress) EXPECT_TRUE(each.written);
  return peak.bytes();
}

// What is foreseen for a batch is what it takes, and no more of it is there at a time.
TEST(BatchPlan, IsWhatABatchTakes) {
  const PipelineOptions options = of_batch(8);
  const Pipeline pipeline = Pipeline::open(options);
  ASSERT_EQ(pipeline.memory().together, 8);
  peak_of_visual_tokens(pipeline, 1);  // tables that are made once
  const Forecast forecast = forecast_memory(options, {});
  RequestShape shape = forecast.largest;
  shape.together = 8;
  const auto needs = stage_needs(forecast.sketch, shape, Arithmetic::of(options.device, forecast.dtype));
  ASSERT_EQ(needs.front().stage, Stage::visual_tokens);
  const int64_t foreseen = needs.front().total(), eight = peak_of_visual_tokens(pipeline, 8);
  EXPECT_LE(eight, foreseen);
  EXPECT_GE(eight, foreseen / 2) << "or it foresees far too much";
  EXPECT_LE(peak_of_visual_tokens(pipeline, 10), eight * 11 / 10);
}

}  // namespace
}  // namespace glmimage
