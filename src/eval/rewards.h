#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eval/check.h"
#include "train/rl/reward.h"

namespace glmimage::eval {

namespace rl = train::rl;

// Rewards of reinforcement learning that ask what `eval` asks of pictures. Of a scene of the world (rl::Prompt::scene):
//   word        half for reading exactly what was asked for, half for 1 - the edit distance over the longer length
//   object      the share of its objects that are named right: emoji and shapes with their colours
//   background  1 when it has the colour that was asked for
//   place       1 when its single object lies where it should; the share of its relations that hold
//   count       the share of its counts that are right
//   picture     1 when all of these are right
// and of any prompt:
//   ocr         blanks aside, 1 when what is quoted in the prompt can be read in the picture, else 1 - the edit
//   distance
//               over its length, at least 0
// Words are read by tesseract. A word of the world that it misreads in the world's own picture is not judged: whoever
// learns from that learns to please the reader.

// The names above.
const std::vector<std::string>& world_rewards();
// Throws ErrorKind::usage for another name, and for words where tesseract is not installed.
std::unique_ptr<rl::Reward> world_reward(const std::string& name, const world::World& world);

// The formula of `ocr`: case as it is.
double reading_score(const std::string& wanted, const std::string& read);

// A scene of a list or of a roll-out in the other's terms.
EvalScene scene_of(const rl::Prompt& prompt);
std::vector<rl::Prompt> prompts_of(const std::vector<EvalScene>& scenes);

}  // namespace glmimage::eval
