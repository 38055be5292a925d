// `glm-image train` as a launcher starts it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "e2e/program.h"
#include "support/process.h"

namespace glmimage::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<ProcessResult> launched(int size, const std::vector<std::string>& arguments) {
  std::vector<std::unique_ptr<Process>> processes;
  // Between those of srun and those the system hands out: tests side by side have other process numbers.
  const std::string port = std::to_string(20'000 + ::getpid() % 10'000), all = std::to_string(size);
  for (int rank = 0; rank < size; ++rank) {
    ProcessOptions options{.arguments = {std::string(GLM_IMAGE_BINARY_DIR) + "/glm-image"},
                           .environment = {{"RANK", std::to_string(rank)},
                                           {"LOCAL_RANK", std::to_string(rank)},
                                           {"WORLD_SIZE", all},
                                           {"LOCAL_WORLD_SIZE", all},
                                           {"MASTER_ADDR", "127.0.0.1"},
                                           {"MASTER_PORT", port}}};
    options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
    processes.push_back(std::make_unique<Process>(options));
  }
  std::vector<ProcessResult> results;
  for (auto& process : processes) results.push_back(process->wait());
  return results;
}

TEST(Distributed, TwoProcessesTrainAndRankZeroSpeaks) {
  const fs::path out = fs::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "e2e" / "two-processes";
  fs::remove_all(out);
  const auto results = launched(
      2, {"train", "vae", "--preset", "tiny", "--data", "synthetic:64", "--steps", "2", "--batch", "1", "--set",
          "accumulate=2", "--set", "warmup=0", "--set", "distributed.sharding=zero2", "--out", out.string()});
  for (const ProcessResult& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(results[0].err, HasSubstr("each of 2 processes (zero2) holds"));
  EXPECT_EQ(results[1].err, "");
  EXPECT_TRUE(fs::exists(out / "final" / "vae" / "config.json"));
}

TEST(Distributed, AnAddressNobodyListensAtIsAnErrorInTime) {
  const ProcessResult result = run_process(
      {.arguments = {std::string(GLM_IMAGE_BINARY_DIR) + "/glm-image", "train", "vae", "--preset", "tiny", "--data",
                     "synthetic:64", "--steps", "1", "--set", "accumulate=2", "--set", "distributed.timeout=1", "--out",
                     std::string(GLM_IMAGE_BINARY_DIR) + "/scratch/e2e/nobody"},
       .environment = {{"RANK", "1"},
                       {"LOCAL_RANK", "1"},
                       {"WORLD_SIZE", "2"},
                       {"LOCAL_WORLD_SIZE", "2"},
                       {"MASTER_ADDR", "127.0.0.1"},
                       {"MASTER_PORT", "1"}}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("glm-image: rank 1 of 2 could not reach rank 0 at 127.0.0.1:1 within 1 s"));
  EXPECT_LT(result.seconds, 30);
}

}  // namespace
}  // namespace glmimage::test
