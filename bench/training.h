#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "train/presets.h"

namespace glmimage::bench {

// What one update of each stage works on. bench/compare/training_reference.py has the same numbers.
struct TrainingSizes {
  std::string name;
  train::Preset preset;
  int64_t vae_batch = 8, vae_side = 64;                  // crops, pixels a side
  int64_t tokenizer_batch = 64, tokenizer_side = 4;      // pictures, tokens a side
  int64_t ar_batch = 64, ar_prompt = 24, ar_drawn = 21;  // sequences; ids of the prompt, ids to be learned
  int64_t dit_batch = 32, dit_side = 128;                // pictures, pixels a side

  // The shipped preset and the batches of the command line.
  static TrainingSizes mini();
  // The published widths with one layer of the language model, the diffusion transformer, the vision tower and the
  // glyph encoder, the whole VAE, and 16,512 of the 168,064 ids that the language model's table holds. One sample a
  // batch.
  static TrainingSizes published();
  // A smoke run: the numbers mean nothing.
  static TrainingSizes quick();
};

// One update each: forward and loss as the stage computes it, backward, clipping, AdamW. Random weights and data,
// float32 on the CPU. Keys are "<stage>.<sizes.name>".
void bench_vae_step(Report& report, const TrainingSizes& sizes, Repeats repeats);
void bench_tokenizer_step(Report& report, const TrainingSizes& sizes, Repeats repeats);
void bench_ar_step(Report& report, const TrainingSizes& sizes, Repeats repeats);
void bench_dit_step(Report& report, const TrainingSizes& sizes, Repeats repeats);

}  // namespace glmimage::bench
