#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/process.h"
#include "train/stages/stages.h"

// Several processes that train together: this test program again, each one test of worker_test.cpp with the variables
// of a launcher.
namespace glmimage::train {

// A run that every rank does: {"stage", "out", "config", "init", "vae", "tokenizer"}.
nlohmann::json task_of(const StageOptions& options);
StageOptions options_of(const nlohmann::json& task);
// The stage of this name.
void train_stage(const StageOptions& options);

class Ranks {
 public:
  // `test`: the one of worker_test.cpp; `tasks`: what it reads.
  Ranks(int size, const std::string& test, const nlohmann::json& tasks,
        const std::map<std::string, std::string>& environment = {});
  test::Process& operator[](int rank) { return *processes_[static_cast<size_t>(rank)]; }
  // Until all have ended, by rank.
  std::vector<test::ProcessResult> wait();

 private:
  std::vector<std::unique_ptr<test::Process>> processes_;
};

// Ranks that are to end well; a failure of the test otherwise, with what they said.
void run_ranks(int size, const std::string& test, const nlohmann::json& tasks);

// What a worker was told.
nlohmann::json worker_tasks();
// A process that runs a worker test, started by `launcher` if there is one; without the variables that say its place.
test::ProcessOptions worker(const std::string& test, const nlohmann::json& tasks,
                            const std::vector<std::string>& launcher = {});

// A port nobody listens at.
int free_port();

}  // namespace glmimage::train
