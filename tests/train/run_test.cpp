#include "train/run.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

// As many threads in all runs that are compared, so that sums are added in one order.
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
  const int64_t steps = base.config.steps;
  const std::string last_name = concat("step-", std::string(8 - std::to_string(steps).size(), '0'), steps);
  fs::remove_all(broken.out / "state" / last_name);
  fs::remove_all(broken.out / "final");
  train(broken);  // of all states the last two are kept: with 8 steps those of 6 and 8
  EXPECT_EQ(first_difference(straight.out / "final" / weights, broken.out / "final" / weights), "");
  const fs::path last = fs::path("state") / last_name / "weights.safetensors";
  EXPECT_EQ(first_difference(straight.out / last, broken.out / last), "");
}

void expect_all_stages_resume_exactly(const fs::path& root) {
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

TEST_F(ResumeTest, AllStagesGoOnBitForBit) { expect_all_stages_resume_exactly(fresh_folder("resume")); }

TEST_F(ResumeTest, AllStagesGoOnBitForBitOnTwoThreads) {
  at::set_num_threads(2);
  expect_all_stages_resume_exactly(fresh_folder("resume_two_threads"));
  at::set_num_threads(1);
}

// The other ways through a stage: several passes, bfloat16, blocks computed again. What they mean is tested on their
// own.
TEST_F(ResumeTest, AllStagesRunWithEverythingTurnedOn) {
  const fs::path root = fresh_folder("everything");
  const auto with_everything = [&](const std::string& stage, int64_t steps) {
    StageOptions options = tiny_stage(stage, root / stage, steps);
    options.config.accumulate = 2;
    options.config.precision = Precision::bfloat16;
    options.config.schedule = Schedule::constant;
    options.config.recompute = stage != "vae";
    options.config.held_out_every = 2;
    return options;
  };
  train_vae(with_everything("vae", 3));
  train_tokenizer(with_everything("tokenizer", 5));
  StageOptions later = with_everything("ar", 5);
  later.tokenizer = root / "tokenizer/final";
  train_ar(later);
  later = with_everything("dit", 5);
  later.tokenizer = root / "tokenizer/final";
  later.vae = root / "vae/final/vae";
  later.config.ema_decay = 0;
  train_dit(later);
  for (const char* stage : {"vae", "tokenizer", "dit", "ar"}) {
    int64_t measured = 0;
    for (const auto& line : metrics_of(root / stage)) {
      if (line.contains("samples_per_second")) {
        EXPECT_TRUE(std::isfinite(line["loss"].get<double>())) << stage;
        EXPECT_EQ(line["skipped"], 0) << stage;
      } else if (line.contains("step")) {
        EXPECT_GT(line.size(), 1U) << stage;
        ++measured;
      }
    }
    EXPECT_EQ(measured, stage == std::string("vae") ? 1 : 2) << stage;
  }
}

// A run over one number, in milliseconds.
struct ToyRun {
  explicit ToyRun(fs::path folder) {
    options = tiny_run(std::move(folder), 20);
    options.config.save_every = 4;
  }
  // Steps until `until`, then stops as on a signal; returns where it began.
  int64_t go(int64_t until, const std::string& stage = "toy") {
    value = at::full({1}, 5.0, at::kFloat);
    stop = false;
    options.stop = &stop;
    Run run(options, begin_run(stage, options),
            {.trained = {{"value", &value, {1}, Init::ones()}}, .held_out = held_out, .samples = samples});
    for (int64_t step = run.first_step(); run.running(step); ++step) {
      run.log(step, run.update(step, [&](int64_t pass) -> Pass {
        return {.loss = (value * value * factor).sum(), .values = {{"pass", pass}}};
      }));
      if (step + 1 == until) stop = true;
      if (step + 1 != late_signal) run.finish_step(step);
    }
    last = value.detach().clone();
    return run.first_step();
  }
  std::vector<std::string> states() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(options.out / "state")) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  StageOptions options;
  std::function<nlohmann::json()> held_out;
  std::function<std::vector<SamplePicture>()> samples;
  std::atomic<bool> stop = false;
  double factor = 1;
  int64_t late_signal = 0;  // after this many steps the signal comes when finish_step is over
  at::Tensor value, last;
};

TEST(Run, StopsOnTheSignalAndGoesOn) {
  ToyRun straight(fresh_folder("toy_straight")), broken(fresh_folder("toy_broken"));
  straight.go(20);
  EXPECT_EQ(broken.go(7), 0);
  EXPECT_EQ(broken.go(13), 7);
  EXPECT_EQ(broken.go(20), 13);
  EXPECT_TRUE(at::equal(straight.last, broken.last));
  const auto lines = metrics_of(broken.options.out);
  EXPECT_EQ(lines.size(), 20u);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["step"], i);
    for (const char* name : {"grad_norm", "learning_rate", "loss", "samples_per_second", "seconds", "skipped"}) {
      EXPECT_TRUE(lines[i].contains(name)) << name;
    }
  }
}

TEST(Run, SavesForASignalThatComesLate) {
  ToyRun toy(fresh_folder("toy_late"));
  toy.late_signal = 7;
  toy.go(7);
  EXPECT_EQ(toy.states(), (std::vector<std::string>{"step-00000004", "step-00000007"}));
}

TEST(Run, KeepsTheLastStates) {
  ToyRun two(fresh_folder("toy_two")), three(fresh_folder("toy_three"));
  two.go(20);
  EXPECT_EQ(two.states(), (std::vector<std::string>{"step-00000016", "step-00000020"}));
  three.options.config.keep_last = 3;
  three.go(20);
  EXPECT_EQ(three.states(), (std::vector<std::string>{"step-00000012", "step-00000016", "step-00000020"}));
}

TEST(Run, RemovesAHalfWrittenState) {
  ToyRun toy(fresh_folder("toy_part"));
  toy.go(5);
  const fs::path half = toy.options.out / "state" / "step-00000009.part";
  fs::create_directories(half);
  std::ofstream(half / "weights.safetensors") << "half";
  EXPECT_EQ(toy.go(6), 5);
  EXPECT_FALSE(fs::exists(half));
  EXPECT_EQ(toy.go(20), 6);
}

// What a killed run logged after its last state is done again, and logged once.
TEST(Run, DropsTheLogOfWhatWasLost) {
  ToyRun toy(fresh_folder("toy_log"));
  toy.go(10);
  fs::remove_all(toy.options.out / "state" / "step-00000010");
  std::ofstream(toy.options.out / "metrics.jsonl", std::ios::app) << "{\"step\": 10, \"lo";  // cut short
  EXPECT_EQ(toy.go(20), 8);
  const auto lines = metrics_of(toy.options.out);
  ASSERT_EQ(lines.size(), 20u);
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["step"], i);
}

TEST(Run, RefusesOtherSettingsAndAnotherStage) {
  ToyRun toy(fresh_folder("toy_refuse"));
  toy.go(5);
  EXPECT_THAT(message_of([&] { toy.go(6, "vae"); }, ErrorKind::checkpoint), HasSubstr("another stage's run"));
  toy.options.config.seed = 99;
  toy.options.config.optimiser.beta1 = 0.5;
  const std::string message = message_of([&] { toy.go(6); }, ErrorKind::usage);
  EXPECT_THAT(message, HasSubstr("seed (1 -> 99)"));
  EXPECT_THAT(message, HasSubstr("optimiser.beta1 (0.9 -> 0.5)"));
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(toy.options.out / "config.json"))["seed"], 1);
  EXPECT_EQ(metrics_of(toy.options.out).size(), 5u);
}

TEST(Run, KnowsWhatItWentOnFrom) {
  ToyRun toy(fresh_folder("toy_init"));
  toy.options.init = fresh_folder("toy_checkpoint");
  toy.go(5);
  EXPECT_EQ(toy.go(6), 5);
  toy.options.init = "elsewhere";  // a checkpoint may be moved
  EXPECT_EQ(toy.go(7), 6);
  toy.options.init = "";
  EXPECT_THAT(message_of([&] { toy.go(8); }, ErrorKind::usage), HasSubstr("elsewhere; give it again"));
  ToyRun other(fresh_folder("toy_no_init"));
  other.go(5);
  other.options.init = "elsewhere";
  EXPECT_THAT(message_of([&] { other.go(6); }, ErrorKind::usage), HasSubstr("without --init"));
}

TEST(Run, StartsOverWithoutLosingTheOldRun) {
  ToyRun toy(fresh_folder("toy_over"));
  toy.go(5);
  toy.options.resume.from = Resume::From::never;
  toy.options.config.seed = 99;
  EXPECT_EQ(toy.go(6), 0);
  EXPECT_EQ(toy.states(), (std::vector<std::string>{"step-00000004", "step-00000006"}));
  EXPECT_TRUE(fs::exists(toy.options.out / "state.old-1" / "step-00000005"));
  EXPECT_TRUE(fs::exists(toy.options.out / "metrics.old-1.jsonl"));
  EXPECT_EQ(toy.go(6), 0);
  EXPECT_TRUE(fs::exists(toy.options.out / "state.old-2"));
}

TEST(Run, BeginsWithTheStateOfAnotherRun) {
  ToyRun first(fresh_folder("toy_first")), run(fresh_folder("toy_second")), state(fresh_folder("toy_third"));
  first.go(10);
  run.options.resume = {Resume::From::folder, first.options.out};
  EXPECT_EQ(run.go(13), 10);
  EXPECT_EQ(run.go(20), 13);  // the same command again: its own state is further
  first.go(20);
  EXPECT_TRUE(at::equal(first.last, run.last));

  state.options.resume = {Resume::From::folder, run.options.out / "state" / "step-00000016"};
  EXPECT_EQ(state.go(20), 16);
  EXPECT_TRUE(at::equal(first.last, state.last));
  state.options.resume.folder = first.options.out;
  EXPECT_THAT(message_of([&] { state.go(20); }, ErrorKind::usage), HasSubstr("holds states of its own"));
  ToyRun empty(fresh_folder("toy_fourth"));
  fs::create_directories(empty.options.out);
  empty.options.resume = {Resume::From::folder, empty.options.out};
  EXPECT_THAT(message_of([&] { empty.go(20); }, ErrorKind::usage), HasSubstr("no saved state"));
}

TEST(Run, BadStepsInARowEndTheRun) {
  ToyRun toy(fresh_folder("toy_nan"));
  toy.options.config.skipped_in_a_row = 3;
  toy.factor = std::numeric_limits<double>::quiet_NaN();
  const std::string message = message_of([&] { toy.go(20); }, ErrorKind::internal);
  EXPECT_THAT(message, HasSubstr("3 steps in a row"));
  EXPECT_THAT(message, HasSubstr("at step 2"));
  EXPECT_EQ(toy.value.item<double>(), 5.0);
}

TEST(Run, WatchesWithTheAveragedWeights) {
  ToyRun plain(fresh_folder("toy_unwatched")), toy(fresh_folder("toy_watched"));
  plain.go(20);
  std::vector<double> seen;
  toy.held_out = [&]() -> nlohmann::json {
    seen.push_back(toy.value.item<double>());
    return {{"loss", 0.5}};
  };
  toy.samples = [&]() -> std::vector<SamplePicture> { return {{"red", Image{1, 1, {255, 0, 0}}}}; };
  toy.options.config.held_out_every = 10;
  toy.options.config.sample_every = 20;
  toy.options.config.prompts = {"red"};
  toy.go(20);
  EXPECT_TRUE(at::equal(plain.last, toy.last));  // watching changes nothing
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_NE(seen[1], toy.last.item<double>());
  EXPECT_TRUE(fs::exists(toy.options.out / "samples" / "step-00000019-red.png"));
  const auto lines = metrics_of(toy.options.out);
  ASSERT_EQ(lines.size(), 22u);
  EXPECT_EQ(lines[10], (nlohmann::json{{"step", 9}, {"loss", 0.5}}));

  plain.options.config.held_out_every = 5;
  EXPECT_THAT(message_of([&] { plain.go(20); }, ErrorKind::usage), HasSubstr("no held-out loss"));
}

// Least squares on rows of numbers; a pass takes some of the rows.
at::Tensor weights_after(const std::string& name, int64_t accumulate, const std::vector<int64_t>& rows_of_pass) {
  StageOptions options = tiny_run(fresh_folder(name), 5);
  options.config.accumulate = accumulate;
  options.config.learning_rate = 0.1;
  const at::Tensor x = at::randn({8, 3}, make_generator(1), at::kFloat),
                   y = at::randn({8}, make_generator(2), at::kFloat);
  at::Tensor w = at::full({3}, 0.5, at::kFloat);
  Run run(options, begin_run("toy", options), {.trained = {{"w", &w, {3}, Init::ones()}}});
  double loss = 0;
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    int64_t row = 0;
    const nlohmann::json means = run.update(step, [&](int64_t pass) -> Pass {
      EXPECT_EQ(pass / accumulate, step);
      const int64_t count = rows_of_pass[static_cast<size_t>(pass % accumulate)];
      const at::Tensor error = at::mv(x.narrow(0, row, count), w) - y.narrow(0, row, count);
      row += count;
      return {.loss = (error * error).mean(), .values = {}, .weight = static_cast<double>(count)};
    });
    loss = means["loss"].get<double>();
  }
  return at::cat({w.detach(), at::full({1}, loss, at::kFloat)});
}

TEST(Run, SeveralPassesAreOneLargerBatch) {
  const at::Tensor whole = weights_after("toy_whole", 1, {8});
  EXPECT_LT((whole - weights_after("toy_halves", 2, {4, 4})).abs().max().item<double>(), 1e-6);
  EXPECT_LT((whole - weights_after("toy_uneven", 3, {5, 1, 2})).abs().max().item<double>(), 1e-6);
  EXPECT_GT((whole - at::full({4}, 0.5, at::kFloat)).abs().max().item<double>(), 0.1);  // and it moved
}

}  // namespace
}  // namespace glmimage::train
