#include "train/distributed/ranks.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "train/stage_helpers.h"

namespace glmimage::train {
using nlohmann::json;

json task_of(const StageOptions& options) {
  TrainConfig config = options.config;
  return {{"stage", config.stage},
          {"out", options.out.string()},
          {"init", options.init.string()},
          {"vae", options.vae.string()},
          {"tokenizer", options.tokenizer.string()},
          {"config", config.fields().to_json()}};
}

StageOptions options_of(const json& task) {
  StageOptions options;
  options.config = TrainConfig::of_stage(task["stage"]);
  options.config.fields().read(task["config"], "the task");
  options.out = task["out"].get<std::string>();
  options.init = task["init"].get<std::string>();
  options.vae = task["vae"].get<std::string>();
  options.tokenizer = task["tokenizer"].get<std::string>();
  return options;
}

void train_stage(const StageOptions& options) {
  const std::map<std::string, void (*)(const StageOptions&)> stages = {
      {"vae", train_vae}, {"tokenizer", train_tokenizer}, {"dit", train_dit}, {"ar", train_ar}};
  stages.at(options.config.stage)(options);
}

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

test::ProcessOptions worker(const std::string& test, const json& tasks, const std::vector<std::string>& launcher) {
  test::ProcessOptions options{.arguments = launcher,
                               .environment = {{"GLM_IMAGE_TEST_WORKER", tasks.dump()},
                                               {"OMP_NUM_THREADS", "1"},
                                               {"GTEST_TOTAL_SHARDS", ""},
                                               {"GTEST_SHARD_INDEX", ""},
                                               {"GTEST_OUTPUT", ""}},
                               .input = {},
                               .folder = {}};
  options.arguments.push_back(std::filesystem::read_symlink("/proc/self/exe"));
  options.arguments.push_back("--gtest_filter=DistributedWorker." + test);
  options.arguments.push_back("--gtest_brief=1");
  return options;
}

json worker_tasks() {
  const char* text = std::getenv("GLM_IMAGE_TEST_WORKER");
  return text ? json::parse(text) : json();
}

Ranks::Ranks(int size, const std::string& test, const json& tasks,
             const std::map<std::string, std::string>& environment) {
  const std::string port = std::to_string(free_port()), all = std::to_string(size);
  for (int rank = 0; rank < size; ++rank) {
    test::ProcessOptions options = worker(test, tasks);
    for (const auto& [name, value] : environment) options.environment[name] = value;
    const std::map<std::string, std::string> place = {
        {"RANK", std::to_string(rank)}, {"LOCAL_RANK", std::to_string(rank)}, {"WORLD_SIZE", all},
        {"LOCAL_WORLD_SIZE", all},      {"MASTER_ADDR", "127.0.0.1"},         {"MASTER_PORT", port}};
    options.environment.insert(place.begin(), place.end());
    processes_.push_back(std::make_unique<test::Process>(options));
  }
}

std::vector<test::ProcessResult> Ranks::wait() {
  std::vector<test::ProcessResult> results;
  for (auto& process : processes_) results.push_back(process->wait());
  return results;
}

void run_ranks(int size, const std::string& test, const json& tasks) {
  Ranks ranks(size, test, tasks);
  int rank = 0;
  for (const test::ProcessResult& result : ranks.wait()) {
    ASSERT_EQ(result.exit_code, 0) << "rank " << rank << " of " << size << ":\n" << result.out << result.err;
    ++rank;
  }
}

}  // namespace glmimage::train
