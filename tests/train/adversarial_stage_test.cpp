// `train vae` with the adversarial term: a run of its own in saved states, nothing of it in the result.
#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "train/stage_helpers.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kResult = "final/vae/diffusion_pytorch_model.safetensors";

class AdversarialStage : public testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }  // sums are added in one order

  static StageOptions run(const std::string& name, int64_t steps, double weight, int64_t from = 0) {
    StageOptions options = tiny_stage("vae", fresh_folder("adversarial_" + name), steps);
    options.config.vae.adversarial = weight;
    options.config.vae.adversarial_from = from;
    options.config.vae.discriminator_width = 8;
    options.config.vae.discriminator_depth = 2;
    return options;
  }
  static fs::path weights(const StageOptions& options, const std::string& step) {
    return options.out / "state" / ("step-0000" + step) / "weights.safetensors";
  }
  static int64_t discriminators(const fs::path& file) {
    int64_t count = 0;
    const SafetensorsFile weights = SafetensorsFile::open(file);
    for (const TensorInfo& info : weights.tensors()) count += info.name.rfind("discriminator.", 0) == 0;
    return count;
  }
};

// Until the term begins its run is one without it; the discriminator has not moved. Then both move.
TEST_F(AdversarialStage, ChangesNothingBeforeItsStep) {
  StageOptions with = run("from", 6, 0.1, 4), without = run("without", 6, 0);
  with.config.save_every = without.config.save_every = 2;
  with.config.keep_last = without.config.keep_last = 3;
  train_vae(with);
  train_vae(without);
  EXPECT_EQ(discriminators(weights(without, "0004")), 0);
  EXPECT_EQ(discriminators(weights(with, "0004")), 12);
  const auto differ = [&](const fs::path& a, const fs::path& b, const std::string& prefix) {
    const SafetensorsFile left = SafetensorsFile::open(a), right = SafetensorsFile::open(b);
    int64_t count = 0, compared = 0;
    for (const TensorInfo& info : right.tensors()) {
      if (info.name.rfind(prefix, 0) != 0) continue;
      ++compared;
      count += !at::equal(left.tensor(info.name), right.tensor(info.name));
    }
    EXPECT_GT(compared, 0);
    return count;
  };
  EXPECT_EQ(differ(weights(with, "0004"), weights(without, "0004"), ""), 0);
  EXPECT_GT(differ(weights(with, "0006"), weights(without, "0006"), "decoder."), 0);
  EXPECT_EQ(differ(weights(with, "0002"), weights(with, "0004"), "discriminator."), 0);
  EXPECT_EQ(differ(weights(with, "0004"), weights(with, "0006"), "discriminator."), 12);
  for (const char* value : {"adversarial", "discriminator", "real_told", "decoded_told"}) {
    EXPECT_EQ(metrics(with.out, value).size(), 2U) << value;
    EXPECT_TRUE(metrics(without.out, value).empty()) << value;
  }
  EXPECT_EQ(discriminators(with.out / kResult), 0);
}

// Across the step at which it begins, and between two in which it counts.
TEST_F(AdversarialStage, GoesOnBitForBit) {
  const StageOptions straight = run("straight", 9, 0.1, 4);
  train_vae(straight);
  StageOptions broken = run("broken", 9, 0.1, 4);
  broken.config.save_every = 3;
  broken.config.keep_last = 4;
  train_vae(broken);
  for (const char* killed_at : {"0009", "0006"}) {  // then it goes on from 6, then from 3
    fs::remove_all(weights(broken, killed_at).parent_path());
    if (killed_at == std::string("0006")) fs::remove_all(weights(broken, "0009").parent_path());
    fs::remove_all(broken.out / "final");
    train_vae(broken);
    EXPECT_EQ(first_difference(straight.out / kResult, broken.out / kResult), "");
    EXPECT_EQ(first_difference(weights(straight, "0009"), weights(broken, "0009")), "");
  }
  EXPECT_EQ(discriminators(weights(broken, "0009")), 12);
}

TEST_F(AdversarialStage, TheDiscriminatorSoonTellsPicturesFromDecodedOnes) {
  StageOptions options = run("learns", 60, 0.05);
  options.config.batch = 8;
  options.config.held_out_every = 30;
  train_vae(options);
  const auto told = [&](const char* name) { return mean_of(metrics(options.out, name), -10); };
  EXPECT_GT(told("real_told") + told("decoded_told"), 1.4);  // guessing gives 1
  EXPECT_LT(mean_of(metrics(options.out, "l1"), -10),
            1.1 * mean_of(metrics(options.out, "l1"), 10));  // no running away
  EXPECT_EQ(metrics(options.out, "skipped").back(), 0);
}

TEST_F(AdversarialStage, TakesPassesAndBfloat16) {
  StageOptions options = run("everything", 3, 0.1);
  options.config.accumulate = 2;
  options.config.precision = Precision::bfloat16;
  train_vae(options);
  for (const double loss : metrics(options.out, "loss")) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_EQ(metrics(options.out, "discriminator").size(), 3U);
}

TEST_F(AdversarialStage, WindowsWithoutRoomForAPatchEndTheRunAtItsBeginning) {
  StageOptions options = run("deep", 9, 0.1, 8);
  options.config.vae.discriminator_depth = 4;
  EXPECT_THAT(message_of([&] { train_vae(options); }, ErrorKind::usage),
              HasSubstr("pictures of 32 x 32 are too small for a discriminator"));
  EXPECT_TRUE(metrics_of(options.out).empty());
}

}  // namespace
}  // namespace glmimage::train
