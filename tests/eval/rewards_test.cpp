#include "eval/rewards.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "eval/eval_helpers.h"
#include "train/rl/feature_reward.h"

namespace glmimage::eval {
namespace {

using rl::Judged;
using rl::Prompt;
using rl::Score;
using testing::HasSubstr;

Prompt prompt_of(const EvalScene& scene) { return prompts_of({scene}).front(); }

std::vector<Score> scores_of(const std::string& reward, const Prompt& prompt, const std::vector<EvalScene>& drawn) {
  std::vector<Judged> judged;
  for (const EvalScene& each : drawn) judged.push_back({prompt, shared_world().render(each.scene)});
  return world_reward(reward, shared_world())->score(judged);
}

TEST(ReadingScore, IsTheDistanceOverTheLength) {
  EXPECT_EQ(reading_score("HELLO", "HELLO"), 1);
  EXPECT_EQ(reading_score("HELLO", "SAYHELLO"), 1);  // contained
  EXPECT_NEAR(reading_score("HELLO", "HELO"), 0.8, 1e-12);
  EXPECT_NEAR(reading_score("HELLO", "hello"), 0, 1e-12);  // case as it is
  EXPECT_EQ(reading_score("HI", "COMPLETELY"), 0);
  EXPECT_EQ(reading_score("HELLO", ""), 0);
  EXPECT_NEAR(reading_score("你好", "你"), 0.5, 1e-12);
}

TEST(WorldReward, KnowsTheGroundTruthFromAnotherPicture) {
  const int64_t red = colour_named("red"), white = colour_named("white");
  const EvalScene wanted = scene_with(class_named("cat"), white), other = scene_with(class_named("dog"), red);
  const Prompt prompt = prompt_of(wanted);
  for (const char* name : {"object", "background", "place", "picture"}) {
    const std::vector<Score> scores = scores_of(name, prompt, {wanted, other});
    EXPECT_EQ(scores[0], Score(1.0)) << name;
    if (std::string(name) == "place") continue;
    EXPECT_EQ(scores[1], Score(0.0)) << name;
  }
  EXPECT_EQ(scores_of("count", prompt, {wanted})[0], Score());  // one object is no count
  const Prompt words_only{.text = "a cat", .scene = {}};
  EXPECT_EQ(scores_of("object", words_only, {wanted})[0], Score());
}

TEST(WorldReward, RefusesNamesItDoesNotKnow) {
  try {
    world_reward("beauty", shared_world());
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("there is no reward 'beauty'; there are ocr, word"));
  }
}

TEST(WordReward, ReadsScenesAndWholePictures) {
  if (!WordReader::open()) GTEST_SKIP() << "tesseract is not installed";
  const int64_t white = colour_named("white");
  const EvalScene hello = scene_with(class_named("cat"), white, "HELLO"),
                  help = scene_with(class_named("cat"), white, "HELP"), bare = scene_with(class_named("cat"), white);
  const std::vector<EvalScene> drawn = {hello, help, bare};
  for (const char* name : {"word", "ocr"}) {
    const std::vector<Score> scores = scores_of(name, prompt_of(hello), drawn);
    EXPECT_EQ(scores[0], Score(1.0)) << name;
    EXPECT_LT(*scores[1], 0.7) << name;
    EXPECT_LT(*scores[2], *scores[1]) << name;
    EXPECT_EQ(scores_of(name, prompt_of(bare), drawn)[0], Score()) << name;  // no word is asked for
  }
  const Prompt no_scene{.text = "a sign with \"HELLO\"", .scene = {}};
  EXPECT_EQ(scores_of("word", no_scene, drawn)[0], Score());
  const std::vector<Score> whole = scores_of("ocr", no_scene, {scene_with(world::text_class(), white, "HELLO"), bare});
  EXPECT_EQ(whole[0], Score(1.0));
  EXPECT_LT(*whole[1], 0.5);
}

// Side by side on threads as one after the other, and engines are used again.
TEST(WordReward, GivesTheSameOnThreads) {
  if (!WordReader::open()) GTEST_SKIP() << "tesseract is not installed";
  const std::vector<EvalScene> scenes = sample_scenes(shared_world(), 3, 12);
  const std::vector<Prompt> prompts = prompts_of(scenes);
  std::vector<Judged> judged;
  for (size_t i = 0; i < scenes.size(); ++i) judged.push_back({prompts[i], shared_world().render(scenes[i].scene)});
  const auto reward = world_reward("word", shared_world());
  at::set_num_threads(1);
  const std::vector<Score> alone = reward->score(judged);
  at::set_num_threads(3);
  const std::vector<Score> together = reward->score(judged);
  at::set_num_threads(1);
  EXPECT_EQ(alone, together);
}

TEST(FeatureLikeness, IsOneForTheSameAndLessForOthers) {
  const Vae vae =
      Vae::open(std::filesystem::path(GLM_IMAGE_SOURCE_DIR) / "checkpoints/mini/vae", {at::kFloat, at::kCPU});
  const auto pixels = [](const EvalScene& scene) {
    const at::Tensor unit =
        to_tensor(shared_world().render(scene.scene)).permute({2, 0, 1}).unsqueeze(0).to(at::kFloat);
    return unit / 127.5 - 1;
  };
  const int64_t white = colour_named("white");
  const at::Tensor cat = pixels(scene_with(class_named("cat"), white)),
                   dog = pixels(scene_with(class_named("dog"), white)),
                   red = pixels(scene_with(class_named("dog"), colour_named("red")));
  EXPECT_NEAR(rl::feature_likeness(vae, cat, cat).item<double>(), 1, 1e-5);
  const double near = rl::feature_likeness(vae, cat, dog).item<double>();
  const double far = rl::feature_likeness(vae, cat, red).item<double>();
  EXPECT_LT(near, 0.999);
  EXPECT_LT(far, near);
}

}  // namespace
}  // namespace glmimage::eval
