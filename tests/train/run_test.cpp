#include "train/run.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "train/stage_helpers.h"
#include "train/stages/stages.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int64_t kSteps = 8;

// One thread, so that sums are added in one order.
class ResumeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }
};

// All steps at once, against a run that was killed after its last but one state and goes on: it loses nothing but time.
void expect_resume_is_exact(void (*train)(const StageOptions&), const StageOptions& base, const std::string& weights,
                            int64_t save_every = 3) {
  StageOptions straight = base;
  straight.out = base.out / "straight";
  train(straight);

  StageOptions broken = base;
  broken.out = base.out / "broken";
  broken.config.save_every = save_every;
  std::atomic<bool> stop = true;  // a run that is stopped exports nothing
  broken.stop = &stop;
  train(broken);
  EXPECT_FALSE(fs::exists(broken.out / "final" / weights));
  stop = false;
  train(broken);
  const std::string last_name =
      concat("step-", std::string(8 - std::to_string(base.config.steps).size(), '0'), base.config.steps);
  fs::remove_all(broken.out / "state" / last_name);
  fs::remove_all(broken.out / "final");
  train(broken);  // of all states the last two are kept: with 8 steps those of 6 and 8
  EXPECT_EQ(first_difference(straight.out / "final" / weights, broken.out / "final" / weights), "");
  const fs::path last = fs::path("state") / last_name / "weights.safetensors";
  EXPECT_EQ(first_difference(straight.out / last, broken.out / last), "");
}

TEST_F(ResumeTest, AllStagesGoOnBitForBit) {
  const fs::path root = fresh_folder("resume");
  expect_resume_is_exact(train_vae, tiny_stage("vae", root / "vae", kSteps), "vae/diffusion_pytorch_model.safetensors");
  // From step 180 to 250: dead codes restart from late features at step 200.
  expect_resume_is_exact(train_tokenizer, tiny_stage("tokenizer", root / "tokenizer", 250), "model.safetensors", 90);
  StageOptions later = tiny_stage("dit", root / "dit", kSteps);
  later.vae = root / "vae/straight/final/vae";
  later.tokenizer = root / "tokenizer/straight/final";
  expect_resume_is_exact(train_dit, later, "transformer/diffusion_pytorch_model.safetensors");
  StageOptions ar = tiny_stage("ar", root / "ar", kSteps);
  ar.tokenizer = later.tokenizer;
  expect_resume_is_exact(train_ar, ar, "vision_language_encoder/model.safetensors");
}

// A run over one number, in milliseconds.
struct ToyRun {
  explicit ToyRun(fs::path folder) {
    options.out = std::move(folder);
    options.steps = 20;
    options.warmup = 2;
    options.save_every = 4;
    options.log_every = 1000;
  }
  // Steps until `until`, then stops as on a signal; returns where it began.
  int64_t go(int64_t until, const std::string& stage = "toy") {
    at::Tensor value = at::full({1}, 5.0, at::kFloat);
    stop = false;
    options.stop = &stop;
    Run run(stage, options, {{"value", &value, {1}, Init::ones()}});
    for (int64_t step = run.first_step(); run.running(step); ++step) {
      run.optimise(step, (value * value * factor).sum());
      run.log(step, {{"loss", 1.0}});
      if (step + 1 == until) stop = true;
      run.save_when_due(step);
    }
    last = value.detach().clone();
    return run.first_step();
  }
  RunOptions options;
  std::atomic<bool> stop = false;
  double factor = 1;
  at::Tensor last;
};

std::string message_of(const std::function<void()>& action, ErrorKind kind) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Run, StopsOnTheSignalAndGoesOn) {
  ToyRun straight(fresh_folder("toy_straight")), broken(fresh_folder("toy_broken"));
  straight.go(20);
  EXPECT_EQ(broken.go(7), 0);
  EXPECT_EQ(broken.go(13), 7);
  EXPECT_EQ(broken.go(20), 13);
  EXPECT_TRUE(at::equal(straight.last, broken.last));
  std::ifstream metrics(broken.options.out / "metrics.jsonl");
  int64_t lines = 0;
  for (std::string line; std::getline(metrics, line); ++lines) {
    const auto values = nlohmann::json::parse(line);
    EXPECT_EQ(values["step"], lines);
    EXPECT_TRUE(values.contains("grad_norm") && values.contains("learning_rate") && values.contains("loss"));
  }
  EXPECT_EQ(lines, 20);
}

TEST(Run, KeepsTheLastTwoStates) {
  ToyRun toy(fresh_folder("toy_two"));
  toy.go(20);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(toy.options.out / "state")) names.push_back(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("step-00000016", "step-00000020"));
}

TEST(Run, IgnoresAHalfWrittenState) {
  ToyRun toy(fresh_folder("toy_part"));
  toy.go(5);
  fs::create_directories(toy.options.out / "state" / "step-00000009.part");
  std::ofstream(toy.options.out / "state" / "step-00000009.part" / "weights.safetensors") << "half";
  EXPECT_EQ(toy.go(9), 5);
  EXPECT_EQ(toy.go(20), 9);  // written over what was left of the half state
}

TEST(Run, RefusesAnotherSeedAndAnotherStage) {
  ToyRun toy(fresh_folder("toy_refuse"));
  toy.go(5);
  EXPECT_THAT(message_of([&] { toy.go(6, "vae"); }, ErrorKind::checkpoint),
              HasSubstr("another stage's run is in this folder"));
  toy.options.seed = 99;
  EXPECT_THAT(message_of([&] { toy.go(6); }, ErrorKind::checkpoint), HasSubstr("another run is in this folder"));
  toy.options.resume = false;
  EXPECT_EQ(toy.go(6), 0);
}

TEST(Run, TenBadStepsInARowEndTheRun) {
  ToyRun toy(fresh_folder("toy_nan"));
  toy.factor = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(message_of([&] { toy.go(20); }, ErrorKind::internal), HasSubstr("ten steps in a row"));
}

}  // namespace
}  // namespace glmimage::train
