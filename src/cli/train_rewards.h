#pragma once

#include <string>

#include "train/rl/rollout.h"
#include "train/stage_options.h"

namespace glmimage::cli {

// The prompts and rewards that config.rl names. Throws ErrorKind::usage for names there are none of, lists that cannot
// be read, and what a reward needs and is not there.
train::rl::RlParts rl_parts(const train::StageOptions& options);

}  // namespace glmimage::cli
