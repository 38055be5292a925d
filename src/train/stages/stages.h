#pragma once

#include <c10/core/Device.h>

#include <atomic>
#include <filesystem>

#include "train/config/train_config.h"
#include "train/run.h"

namespace glmimage::train {

// What all four stages are told.
struct StageOptions {
  TrainConfig config;
  std::filesystem::path out;   // the run's folder; the result lands in out/final
  std::filesystem::path init;  // a checkpoint, or the folder `final` of a stage, to go on from; empty: random numbers
  std::filesystem::path vae, tokenizer;  // folders of finished parts that a later stage builds on; empty: those of init
  bool resume = true;                    // go on from the newest state in out/state, when there is one
  c10::Device device = c10::Device(c10::kCPU);
  const std::atomic<bool>* stop = nullptr;  // set by a signal: save and return
};

// Each stage trains one part of GLM-Image, from random numbers, from a checkpoint or from its newest saved state, on
// the data of config.data, and writes the part in the published layout to out/final. One file a stage, each a loop that
// reads top to bottom.
//   vae        pictures <-> latents: final/vae
//   tokenizer  pictures -> visual tokens: final/ with the visual tower and the codebook
//   dit        visual tokens and glyphs -> latents: final/transformer, final/text_encoder; needs `vae` and `tokenizer`
//   ar         prompt -> visual tokens: final/vision_language_encoder with the tokenizer's weights in it,
//              final/processor and final/tokenizer; needs `tokenizer`
// With config.lora.rank > 0 dit and ar train an adapter of the checkpoint `init` instead: final/adapter.safetensors.
void train_vae(const StageOptions& options);
void train_tokenizer(const StageOptions& options);
void train_dit(const StageOptions& options);
void train_ar(const StageOptions& options);

// What Run's present constructor reads of a stage's options.
RunOptions run_options(const StageOptions& options);

}  // namespace glmimage::train
