#include "train/rl/reward.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "train/rl/process_reward.h"
#include "train/stage_helpers.h"

namespace glmimage::train::rl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Image grey(uint8_t shade) { return {8, 8, std::vector<uint8_t>(8 * 8 * 3, shade)}; }

struct Pictures {
  explicit Pictures(size_t count) {
    for (size_t i = 0; i < count; ++i) prompts.push_back({.text = concat("picture ", i), .scene = {}});
    for (size_t i = 0; i < count; ++i) judged.push_back({prompts[i], grey(static_cast<uint8_t>(50 * i))});
  }
  std::vector<Prompt> prompts;
  std::vector<Judged> judged;
};

class Given : public Reward {
 public:
  explicit Given(std::vector<Score> scores) : scores_(std::move(scores)) {}
  std::vector<Score> score(std::span<const Judged>) override { return scores_; }

 private:
  std::vector<Score> scores_;
};

RewardSum sum_of(std::vector<std::pair<double, std::vector<Score>>> given) {
  std::vector<WeightedReward> rewards;
  for (auto& [weight, scores] : given) {
    rewards.push_back({concat("r", rewards.size()), weight, std::make_unique<Given>(std::move(scores))});
  }
  return RewardSum(std::move(rewards));
}

TEST(RewardSum, IsTheMeanOfThoseThatJudge) {
  const Pictures pictures(3);
  RewardSum sum = sum_of({{1, {1, 0.5, {}}}, {3, {0, {}, {}}}});
  const RewardSum::Result result = sum.score(pictures.judged);
  EXPECT_THAT(result.total, ElementsAre(0.25, 0.5, 0.375));
  EXPECT_THAT(result.judged, ElementsAre(1, 1, 0));
  EXPECT_EQ(result.means(sum), (nlohmann::json{{"reward", 0.375}, {"reward_r0", 0.75}, {"reward_r1", 0.0}}));
  const auto message = [&](std::vector<Score> scores) {
    return message_of([&] { sum_of({{1, scores}}).score(pictures.judged); }, ErrorKind::internal);
  };
  EXPECT_THAT(message({1, 1}), HasSubstr("2 scores for 3 pictures"));
  EXPECT_THAT(message({1, 1, 1.5}), HasSubstr("from 0 to 1"));
  EXPECT_THAT(message({1, 1, NAN}), HasSubstr("from 0 to 1"));
}

TEST(RewardNames, AreNamesWithWeights) {
  EXPECT_THAT(parse_rewards("ocr=1,object=0.5"), ElementsAre(Pair("ocr", 1), Pair("object", 0.5)));
  EXPECT_THAT(parse_rewards("ocr"), ElementsAre(Pair("ocr", 1)));
  for (const char* bad : {"", "=1", "ocr=", "ocr=x", "ocr=0", "ocr=-1", "ocr=nan", "ocr=inf", "ocr,ocr", "ocr=1,,"}) {
    EXPECT_THROW(parse_rewards(bad), Error) << bad;
  }
}

// A program in `sh` or Python in a file, as a user has it.
std::string script(const std::string& name, const std::string& text) {
  const std::filesystem::path folder = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "rewards";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / name) << text;
  return (folder / name).string();
}

// Judges a grey PNG by its shade, with nothing but Python's own library.
const char* const kJudge = R"(import base64, json, struct, sys, zlib
for line in sys.stdin:
    batch = json.loads(line)
    scores = []
    for picture in batch["pictures"]:
        data = base64.b64decode(picture["png"])
        pixels, at = b"", 8
        while at < len(data):
            length, kind = struct.unpack(">I4s", data[at:at + 8])
            if kind == b"IDAT": pixels += data[at + 8:at + 8 + length]
            at += 12 + length
        first = zlib.decompress(pixels)[1]
        scores.append(None if "3" in picture["prompt"] else first / 255)
    print(json.dumps({"batch": batch["batch"], "scores": scores}), flush=True)
)";

TEST(ProcessReward, AnswersInBatches) {
  const Pictures pictures(5);
  const auto reward = process_reward({.command = "python3 " + script("judge.py", kJudge), .seconds = 60, .batch = 2});
  for (int round = 0; round < 2; ++round) {  // one process for all
    const std::vector<Score> scores = reward->score(pictures.judged);
    ASSERT_EQ(scores.size(), 5U);
    EXPECT_EQ(scores[0], Score(0.0));
    EXPECT_NEAR(*scores[4], 200.0 / 255, 1e-12);
    EXPECT_FALSE(scores[3].has_value());
  }
}

std::string failure_of(const std::string& command, double seconds = 20) {
  const Pictures pictures(2);
  const auto reward = process_reward({.command = command, .seconds = seconds, .batch = 64});
  return message_of([&] { reward->score(pictures.judged); }, ErrorKind::io);
}

TEST(ProcessReward, SaysWhatIsWrongWithTheProcess) {
  EXPECT_THAT(failure_of("exit 3"), HasSubstr("'exit 3' ended with exit code 3"));
  EXPECT_THAT(failure_of("no-such-program-here 2>/dev/null"), HasSubstr("exit code 127"));
  EXPECT_THAT(failure_of("read line; kill -9 $$"), HasSubstr("was ended by signal 9"));
  EXPECT_THAT(failure_of("read line; exec >&-; sleep 30"), HasSubstr("closed its output"));
  EXPECT_THAT(failure_of("sleep 30", 0.2), HasSubstr("did not answer within 0.2 seconds"));
  EXPECT_THAT(failure_of("yes | tr -d '\\n'"), HasSubstr("without the end of a line"));
  EXPECT_THAT(failure_of("echo hello"), HasSubstr("no JSON object"));
  EXPECT_THAT(failure_of(R"(echo '{"batch": 2, "scores": [1, 1]}')"), HasSubstr("the number of another batch"));
  EXPECT_THAT(failure_of(R"(echo '{"batch": 1, "scores": [1]}')"), HasSubstr("no list of 2 scores"));
  EXPECT_THAT(failure_of(R"(echo '{"batch": 1, "scores": [1, 2]}')"), HasSubstr("a score of 2"));
  EXPECT_THAT(failure_of(R"(echo '{"batch": 1, "scores": [1, "x"]}')"), HasSubstr("a score of \"x\""));
  EXPECT_THAT(message_of([] { process_reward({}); }, ErrorKind::usage), HasSubstr("rl.process"));
}

// More in both directions than pipes hold: neither side may wait for the other.
TEST(ProcessReward, TakesMoreThanAPipeHolds) {
  std::vector<Prompt> prompts(1, {.text = std::string(300000, 'x'), .scene = {}});
  std::vector<Judged> judged;
  judged.push_back({prompts[0], grey(1)});
  const auto reward = process_reward(
      {.command = "read line; printf '{\"pad\": \"%03000d\", \"batch\": 1, \"scores\": [0.5]}\\n' 0", .seconds = 60});
  EXPECT_EQ(reward->score(judged)[0], Score(0.5));
}

// Whatever the shell started is gone with the reward.
TEST(ProcessReward, LeavesNothingBehind) {
  const std::filesystem::path file = script("pid", "");
  const Pictures pictures(2);
  {
    const auto reward =
        process_reward({.command = concat("sleep 300 & echo $! > ", file.string(),
                                          R"(; read line; echo '{"batch": 1, "scores": [1, 1]}'; wait)"),
                        .seconds = 20});
    reward->score(pictures.judged);
  }
  pid_t pid = 0;
  std::ifstream(file) >> pid;
  ASSERT_GT(pid, 0);
  for (int i = 0; i < 200 && std::filesystem::exists(concat("/proc/", pid, "/exe")); ++i) ::usleep(10000);
  EXPECT_FALSE(std::filesystem::exists(concat("/proc/", pid, "/exe")));
}

}  // namespace
}  // namespace glmimage::train::rl
