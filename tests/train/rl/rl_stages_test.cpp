#include "train/rl/rl_stages.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "train/run.h"
#include "train/stage_helpers.h"
#include "train/stages/assemble.h"

namespace glmimage::train::rl {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Stage = void (*)(const StageOptions&, RlParts);

// How bright a picture is: a reward that the smallest model can raise in a few updates.
class Brightness : public Reward {
 public:
  std::vector<Score> score(std::span<const Judged> pictures) override {
    std::vector<Score> out;
    for (const Judged& each : pictures) {
      double sum = 0;
      for (const uint8_t value : each.image.pixels) sum += value;
      out.push_back(sum / 255 / static_cast<double>(each.image.pixels.size()));
    }
    return out;
  }
};

RlParts bright() {
  std::vector<WeightedReward> rewards;
  rewards.push_back({"bright", 1, std::make_unique<Brightness>()});
  std::vector<Prompt> prompts = {{.text = "a red apple", .scene = {}}, {.text = "the text \"HI\"", .scene = {}}};
  return {.prompts = listed_prompts(std::move(prompts), 1), .rewards = std::make_unique<RewardSum>(std::move(rewards))};
}

// A whole checkpoint of the smallest sizes, hardly trained: enough that what it draws depends on its weights.
const fs::path& tiny_checkpoint() {
  static const fs::path made = [] {
    const fs::path root = fresh_folder("rl/checkpoint");
    const auto stage = [&](const std::string& name, int64_t steps) {
      StageOptions options = tiny_stage(name, root / name, steps);
      options.config.batch = 8;
      options.config.ema_decay = 0.9;
      options.config.learning_rate = 3e-3;
      return options;
    };
    train_vae(stage("vae", 80));
    train_tokenizer(stage("tokenizer", 20));
    StageOptions dit = stage("dit", 60), ar = stage("ar", 10);
    dit.vae = root / "vae/final/vae";
    dit.tokenizer = ar.tokenizer = root / "tokenizer/final";
    train_dit(dit);
    train_ar(ar);
    assemble_checkpoint({root / "vae/final", root / "dit/final", root / "ar/final"}, root / "whole");
    return root / "whole";
  }();
  return made;
}

StageOptions tiny_rl(const std::string& stage, const fs::path& out, int64_t steps) {
  StageOptions options = tiny_run(out, steps, TrainConfig::of_stage(stage));
  options.init = tiny_checkpoint();
  options.config.batch = 8;
  options.config.accumulate = 2;
  options.config.rl.group = 8;
  options.config.rl.draw_steps = 4;
  options.config.rl.guidance_scale = 1;
  options.config.learning_rate = 2e-3;
  return options;
}

class RlStages : public testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }
};

void expect_rise(Stage train, const StageOptions& options, double least) {
  train(options, bright());
  const std::vector<double> rewards = metrics(options.out, "reward");
  ASSERT_EQ(rewards.size(), static_cast<size_t>(options.config.steps));
  EXPECT_GT(mean_of(rewards, -5) - mean_of(rewards, 5), least);
  for (const nlohmann::json& line : metrics_of(options.out)) {
    EXPECT_EQ(line.value("skipped", 0), 0);
    EXPECT_EQ(line.value("ratio", 1.0), 1.0);  // one update a roll-out
    EXPECT_TRUE(line.contains("reward_bright") && line.contains("group_std"));
  }
}

TEST_F(RlStages, NftRaisesItsReward) { expect_rise(train_nft, tiny_rl("nft", fresh_folder("rl/nft"), 16), 0.1); }

TEST_F(RlStages, FlowGrpoRaisesItsReward) {
  StageOptions options = tiny_rl("flow-grpo", fresh_folder("rl/flow_grpo"), 16);
  options.config.flow_grpo.window_every = 10;
  expect_rise(train_flow_grpo, options, 0.1);
}

TEST_F(RlStages, GrpoOfTheLanguageModelRaisesItsReward) {
  expect_rise(train_grpo_ar, tiny_rl("grpo-ar", fresh_folder("rl/grpo_ar"), 30), 0.01);
}

// All at once, against a run that is killed behind its last but one state.
void expect_resume_is_exact(Stage train, StageOptions options, const std::string& weights) {
  const fs::path root = options.out;
  options.out = root / "straight";
  train(options, bright());
  options.out = root / "broken";
  options.config.save_every = 2;
  std::atomic<bool> stop = true;
  options.stop = &stop;
  train(options, bright());
  EXPECT_FALSE(fs::exists(options.out / "final" / weights));
  stop = false;
  train(options, bright());
  fs::remove_all(options.out / "state/step-00000006");
  fs::remove_all(options.out / "final");
  train(options, bright());
  EXPECT_EQ(first_difference(root / "straight/final" / weights, root / "broken/final" / weights), "");
  const fs::path last = "state/step-00000006/weights.safetensors";
  EXPECT_EQ(first_difference(root / "straight" / last, root / "broken" / last), "");
}

// With everything turned on: several updates a roll-out, guidance, the reference, a sampling policy that lags behind.
StageOptions with_everything(const std::string& stage, const fs::path& out) {
  StageOptions options = tiny_rl(stage, out, 6);
  options.config.accumulate = 1;
  options.config.rl.updates = 2;
  options.config.rl.guidance_scale = 1.5;
  options.config.rl.kl = 0.1;
  options.config.recompute = true;
  options.config.nft.old_rise = 0.2;
  options.config.flow_grpo.window = SdeWindow::random;
  return options;
}

TEST_F(RlStages, GoOnBitForBit) {
  const fs::path root = fresh_folder("rl/resume");
  expect_resume_is_exact(train_nft, with_everything("nft", root / "nft"),
                         "transformer/diffusion_pytorch_model.safetensors");
  expect_resume_is_exact(train_flow_grpo, with_everything("flow-grpo", root / "flow"),
                         "text_encoder/model.safetensors");
  expect_resume_is_exact(train_grpo_ar, with_everything("grpo-ar", root / "ar"),
                         "vision_language_encoder/model.safetensors");
  // The first update of each roll-out is on its policy, the second is not.
  const std::vector<double> ratios = metrics(root / "flow/straight", "ratio");
  EXPECT_EQ(ratios[0], 1);
  EXPECT_NE(ratios[1], 1);
  EXPECT_GT(metrics(root / "flow/straight", "kl").back(), 0);
  EXPECT_EQ(metrics(root / "nft/straight", "kl").front(), 0);
}

// In bfloat16, and an adapter in place of the weights.
TEST_F(RlStages, TrainAdapters) {
  const std::vector<std::pair<std::string, Stage>> stages = {
      {"nft", train_nft}, {"flow-grpo", train_flow_grpo}, {"grpo-ar", train_grpo_ar}};
  for (const auto& [stage, train] : stages) {
    StageOptions options = with_everything(stage, fresh_folder(concat("rl/adapter_", stage)));
    options.config.lora.rank = 2;
    options.config.steps = 2;
    options.config.precision = Precision::bfloat16;
    train(options, bright());
    const SafetensorsFile file = SafetensorsFile::open(options.out / "final/adapter.safetensors");
    bool moved = false;
    for (const TensorInfo& info : file.tensors()) {
      if (info.name.ends_with("lora_B.weight")) moved = moved || file.tensor(info.name).abs().max().item<double>() > 0;
    }
    EXPECT_TRUE(moved) << stage;
    EXPECT_FALSE(fs::exists(options.out / "final/transformer"));
  }
}

// Of the prompts that are tried, those with the lowest rewards are kept.
TEST_F(RlStages, ProbesKeepTheHardestPrompts) {
  StageOptions options = tiny_rl("nft", fresh_folder("rl/probes"), 2);
  options.config.rl.probes = 4;
  train_nft(options, bright());
  for (const nlohmann::json& line : metrics_of(options.out)) {
    EXPECT_LT(line["reward"].get<double>(), line["probe_reward"].get<double>() + 0.02);
    EXPECT_EQ(line["probe_reward"], line["probe_reward_bright"]);
  }
}

// Scenes of the world, painted from the ids of their own pictures, and measured on scenes that are held out.
TEST_F(RlStages, DrawScenesFromTheirTruth) {
  StageOptions options = tiny_rl("nft", fresh_folder("rl/truth"), 2);
  options.config.rl.visual_ids = VisualIds::truth;
  options.config.rl.held_out_prompts = 10;
  options.config.held_out_every = 1;
  RlParts parts = bright();
  parts.prompts = world_prompts(world::World::open({.size = 64}), 1, 1);
  train_nft(options, std::move(parts));
  int64_t measured = 0;
  for (const nlohmann::json& line : metrics_of(options.out)) measured += line.contains("samples_per_second") ? 0 : 1;
  EXPECT_EQ(measured, 3);  // after each of two steps, and at the end
  EXPECT_EQ(metrics(options.out, "held_out_reward_bright").size(), 1U);
}

TEST_F(RlStages, AnAnchorIsTheFlowLoss) {
  StageOptions options = tiny_rl("nft", fresh_folder("rl/anchor"), 2);
  options.config.rl.anchor = 0.5;
  options.config.data = {"synthetic:32"};
  train_nft(options, bright());
  const std::vector<double> anchors = metrics(options.out, "anchor"), losses = metrics(options.out, "loss"),
                            nft = metrics(options.out, "nft");
  ASSERT_EQ(anchors.size(), 2U);
  EXPECT_NEAR(losses[0], nft[0] + 0.5 * anchors[0], 1e-5);
}

TEST_F(RlStages, RefuseWhatDoesNotFit) {
  const fs::path out = fresh_folder("rl/refused");
  const auto refusal = [&](const std::function<void(StageOptions&)>& change, Stage train = train_nft,
                           const std::string& stage = "nft") {
    StageOptions options = tiny_rl(stage, out, 2);
    change(options);
    return message_of([&] { train(options, bright()); }, ErrorKind::usage);
  };
  EXPECT_THAT(refusal([](StageOptions& o) { o.init.clear(); }), HasSubstr("--init"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.rl.group = 3; }), HasSubstr("no whole groups of 3"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.rl.updates = 4; }), HasSubstr("multiples of rl.updates"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.sample_every = 1; }), HasSubstr("sample_every"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.held_out_every = 1; }), HasSubstr("nothing is held out"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.rl.visual_ids = VisualIds::truth; }), HasSubstr("no scene"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.flow_grpo.window_steps = 9; }, train_flow_grpo, "flow-grpo"),
              HasSubstr("window_steps"));
  EXPECT_THAT(refusal([](StageOptions& o) { o.config.rl.anchor = 1; }, train_grpo_ar, "grpo-ar"),
              HasSubstr("rl.anchor"));
  EXPECT_THAT(message_of([] { listed_prompts({}, 1); }, ErrorKind::usage), HasSubstr("empty"));
}

// A reward that fails ends the run with its own message; the states that were saved stay.
TEST_F(RlStages, AFailingRewardEndsTheRun) {
  class Failing : public Reward {
    std::vector<Score> score(std::span<const Judged>) override { fail(ErrorKind::io, "the judge is ill"); }
  };
  StageOptions options = tiny_rl("nft", fresh_folder("rl/failing"), 2);
  RlParts parts = bright();
  std::vector<WeightedReward> rewards;
  rewards.push_back({"failing", 1, std::make_unique<Failing>()});
  parts.rewards = std::make_unique<RewardSum>(std::move(rewards));
  EXPECT_EQ(message_of([&] { train_nft(options, std::move(parts)); }, ErrorKind::io), "the judge is ill");
}

}  // namespace
}  // namespace glmimage::train::rl
