#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "train/rl/reward.h"

namespace glmimage::train::rl {

// A reward of somebody's own: a process that reads JSON lines from its standard input and answers each with one on its
// standard output. A line holds a batch:
//   {"batch": 7, "pictures": [{"prompt": "a red apple", "png": "<base64>"}, …]}
// and its answer the scores, in order, each a number from 0 to 1 or null (it does not judge this one):
//   {"batch": 7, "scores": [0.25, null, …]}
// Its standard error is ours. The process is started by the shell with the first batch and is told that the run is over
// by the end of its input; one that is still there two seconds later is ended.
struct ProcessRewardOptions {
  std::string command;  // for sh -c
  double seconds = 60;  // that one answer may take
  int64_t batch = 64;   // pictures of a line
};

// Throws ErrorKind::usage for an empty command. score() throws ErrorKind::io, naming the command, when the process
// cannot be started, ends, takes too long (it is then ended), or answers something else; where it has ended, with its
// exit code or signal.
std::unique_ptr<Reward> process_reward(const ProcessRewardOptions& options);

}  // namespace glmimage::train::rl
