// Reinforcement learning as its users meet it.
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>

#include "e2e/program.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using test::glm_image;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

ProcessResult train(const std::string& stage, const fs::path& out, const Arguments& more) {
  Arguments arguments = {"train",   stage,        "--init",    test::checkpoint("tiny_a"),
                         "--batch", "4",          "--threads", "1",
                         "--steps", "2",          "--out",     out.string(),
                         "--set",   "rl.group=4", "--set",     "rl.draw_steps=2"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_process(glm_image(arguments));
}

// A program that answers every batch of four with the same scores, and one that gives up.
const char* const kAnswers =
    "rl.process=n=0; while read line; do n=$((n+1)); echo '{\"batch\": '$n', \"scores\": [0, 0.5, 1, null]}'; done";
const char* const kGivesUp = "rl.process=read line; exit 7";

fs::path prompt_file(const fs::path& folder) {
  std::ofstream(folder / "prompts.txt") << "a red apple\n\na sign that says \"HI\"\n";
  return folder / "prompts.txt";
}

TEST(Rl, LearnsFromAProgramsScores) {
  const fs::path folder = test::scratch_folder();
  const std::string prompts = "rl.prompts=" + prompt_file(folder).string();
  for (const char* stage : {"nft", "flow-grpo", "grpo-ar"}) {
    const ProcessResult result =
        train(stage, folder / stage, {"--reward", "process", "--set", kAnswers, "--set", prompts});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::ifstream metrics(folder / stage / "metrics.jsonl");
    std::string line;
    std::getline(metrics, line);
    EXPECT_THAT(line, HasSubstr("\"reward_process\":0.5"));
    EXPECT_TRUE(fs::exists(folder / stage / "final"));
  }
}

TEST(Rl, SaysWhatIsWrong) {
  const fs::path folder = test::scratch_folder();
  const auto refusal = [&](const Arguments& more, int exit_code = 2) {
    const ProcessResult result = train("nft", folder / "run", more);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return result.err;
  };
  EXPECT_THAT(refusal({"--reward", "beauty"}), HasSubstr("there is no reward 'beauty'"));
  EXPECT_THAT(refusal({"--reward", "object=-1"}), HasSubstr("a weight above 0"));
  EXPECT_THAT(refusal({"--reward", "object", "--set", "rl.reward=word"}), HasSubstr("--reward object"));
  EXPECT_THAT(refusal({"--reward", "process"}), HasSubstr("needs a command"));
  EXPECT_THAT(refusal({"--reward", "object", "--set", "rl.prompts=/nowhere.jsonl"}), HasSubstr("/nowhere.jsonl"));
  EXPECT_THAT(refusal({"--reward", "object", "--set", "grpo_ar.clip=0.1"}), HasSubstr("stage nft does not read it"));
  EXPECT_THAT(refusal({"--reward", "process", "--set", kGivesUp}, 1), HasSubstr("ended with exit code 7"));
}

}  // namespace
}  // namespace glmimage
