#pragma once

#include "train/rl/rollout.h"
#include "train/stage_options.h"

namespace glmimage::train::rl {

// Stages of reinforcement learning: each draws pictures for prompts, has them judged, and moves the weights of --init
// towards what was judged well. One file a stage, each a loop that reads top to bottom. All need --init, a whole
// checkpoint (ErrorKind::usage).
//   nft        transformer and glyph encoder, DiffusionNFT: final/transformer, final/text_encoder
//   flow-grpo  the same, Flow-GRPO
//   grpo-ar    language model, GRPO: final/vision_language_encoder, final/processor, final/tokenizer
// With config.lora.rank > 0 an adapter of them instead: final/adapter.safetensors.
void train_nft(const StageOptions& options, RlParts parts);
void train_flow_grpo(const StageOptions& options, RlParts parts);
void train_grpo_ar(const StageOptions& options, RlParts parts);

}  // namespace glmimage::train::rl
