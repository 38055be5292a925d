// `glm-image train` as a launcher starts it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "e2e/program.h"
#include "support/process.h"

namespace glmimage::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void start(std::vector<std::unique_ptr<Process>>& processes, int size, const std::vector<std::string>& arguments) {
  // Between those of srun and those the system hands out: tests side by side have other process numbers.
  const std::string port = std::to_string(20'000 + ::getpid() % 10'000), all = std::to_string(size);
  for (int rank = 0; rank < size; ++rank) {
    ProcessOptions options = glm_image(arguments);
    options.environment.merge(std::map<std::string, std::string>{{"RANK", std::to_string(rank)},
                                                                 {"LOCAL_RANK", std::to_string(rank)},
                                                                 {"WORLD_SIZE", all},
                                                                 {"LOCAL_WORLD_SIZE", all},
                                                                 {"MASTER_ADDR", "127.0.0.1"},
                                                                 {"MASTER_PORT", port}});
    processes.push_back(std::make_unique<Process>(options));
  }
}

std::vector<ProcessResult> launched(int size, const std::vector<std::string>& arguments) {
  std::vector<std::unique_ptr<Process>> processes;
  start(processes, size, arguments);
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

// A signal that reaches one process stops all, after the same update.
TEST(Distributed, AStoppedProcessStopsTheOthers) {
  const fs::path out = fs::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "e2e" / "stopped-process";
  fs::remove_all(out);
  std::vector<std::unique_ptr<Process>> processes;
  start(processes, 2,
        {"train", "vae", "--preset", "tiny", "--data", "synthetic:64", "--steps", "100000", "--batch", "1", "--set",
         "accumulate=2", "--set", "log_every=1", "--set", "distributed.sharding=zero1", "--out", out.string()});
  ASSERT_TRUE(processes[0]->wait_for_error_text("vae 3/100000")) << processes[0]->error_text();
  processes[1]->send(SIGTERM);
  for (auto& process : processes) {
    const ProcessResult result = process->wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (&process == &processes[0]) {
      EXPECT_THAT(result.err, HasSubstr("vae: stopped before step "));
    }
  }
  EXPECT_FALSE(fs::is_empty(out / "state"));
}

// The program itself ends in time, whatever its threads wait for.
TEST(Distributed, TheOthersEndWhenOneIsKilled) {
  const fs::path out = fs::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "e2e" / "killed-process";
  fs::remove_all(out);
  std::vector<std::unique_ptr<Process>> processes;
  start(processes, 3, {"train",    "vae",
                       "--preset", "tiny",
                       "--data",   "synthetic:64",
                       "--steps",  "100000",
                       "--batch",  "1",
                       "--set",    "accumulate=3",
                       "--set",    "log_every=1",
                       "--set",    "distributed.sharding=zero2",
                       "--set",    "distributed.timeout=5",
                       "--out",    out.string()});
  ASSERT_TRUE(processes[0]->wait_for_error_text("vae 3/100000")) << processes[0]->error_text();
  processes[2]->send(SIGKILL);
  for (size_t rank : {0, 1}) {
    const ProcessResult result = processes[rank]->wait();
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_FALSE(result.timed_out);
    EXPECT_THAT(result.err, HasSubstr(concat("glm-image: rank ", rank, " of 3 waited in vain for ")));
  }
}

TEST(Distributed, AnAddressNobodyListensAtIsAnErrorInTime) {
  ProcessOptions options =
      glm_image({"train", "vae", "--preset", "tiny", "--data", "synthetic:64", "--steps", "1", "--set", "accumulate=2",
                 "--set", "distributed.timeout=1", "--out", std::string(GLM_IMAGE_BINARY_DIR) + "/scratch/e2e/nobody"});
  options.environment.merge(std::map<std::string, std::string>{{"RANK", "1"},
                                                               {"LOCAL_RANK", "1"},
                                                               {"WORLD_SIZE", "2"},
                                                               {"LOCAL_WORLD_SIZE", "2"},
                                                               {"MASTER_ADDR", "127.0.0.1"},
                                                               {"MASTER_PORT", "1"}});
  const ProcessResult result = run_process(options);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("glm-image: rank 1 of 2 could not reach rank 0 at 127.0.0.1:1 within 1 s"));
  EXPECT_EQ(result.err.find('\n') + 1, result.err.size()) << result.err;  // one line
  EXPECT_LT(result.seconds, 30);
}

}  // namespace
}  // namespace glmimage::test
