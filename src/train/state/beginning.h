#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "train/stage_options.h"

namespace glmimage::train {

// Where a run begins.
struct Beginning {
  std::string stage;
  std::filesystem::path state;   // the saved state to go on from; empty: none
  int64_t step = 0;              // the first step
  std::filesystem::path origin;  // whose state the run first began with (Resume::From::folder); empty: nobody's
  std::filesystem::path init;    // the checkpoint its first steps went on from (StageOptions::init); empty: none
};

// The first act of a stage, before anything is computed or overwritten: checks the settings, makes the run's folder,
// removes half-written states, chooses the state to go on from and holds its settings against the run's, and writes
// config.json. Throws ErrorKind::usage naming the settings that differ, or --init where one run had it alone,
// ErrorKind::checkpoint for another stage's or a broken state, ErrorKind::io when the folder cannot be made.
Beginning begin_run(const std::string& stage, const StageOptions& options);

// What a run's weights mean nothing without, by the option or part it comes from: hashes of weights and contents.
using Foundations = std::map<std::string, std::string>;

// Refuses to go on from a state that was trained on other foundations: ErrorKind::usage naming the first that differs.
void check_foundations(const Beginning& beginning, const Foundations& foundations);

}  // namespace glmimage::train
