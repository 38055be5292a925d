#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "train/config/train_config.h"
#include "train/presets.h"

namespace glmimage::train {

// What a sample looks like: a picture, its caption, its quoted strings.
struct SampleShape {
  int64_t height = 0, width = 0;  // pixels, multiples of 32
  int64_t text_tokens = 64;       // of the prompt; stage ar
  int64_t glyph_tokens = 32;      // of its quoted strings, taken as one; stage dit
};

// What training a stage costs, by formula from its models' configurations (docs/scaling.md). Of one sample, unless said
// otherwise. Products of matrices, convolutions and attention are counted, a multiplication and an addition as two;
// attention in full, whether causal or not. tests/train/plan_test.cpp holds the formulas to what LibTorch computes and
// allocates.
struct StageCost {
  int64_t parameters = 0;         // trained
  int64_t layers = 0;             // those that are recomputed, and gathered one by one
  int64_t layer_parameters = 0;   // of one of them
  int64_t largest_parameter = 0;  // elements of the largest tensor
  int64_t cast_parameters = 0;    // of matrices, which bfloat16 arithmetic copies

  int64_t tokens = 0;           // that go through the layers
  double layer_flops = 0;       // of all layers, forward
  double other_flops = 0;       // of the rest, forward
  double fixed_flops = 0;       // of what has no backward pass: the codebook's distances
  int64_t layer_bytes = 0;      // that one layer keeps for the backward pass
  int64_t input_bytes = 0;      // of a layer's inputs, which it keeps when it is recomputed
  int64_t early_bytes = 0;      // that is kept in front of the layers
  int64_t late_bytes = 0;       // and behind them: free again when they go backward
  int64_t exchanged_bytes = 0;  // a layer's queries, keys, values and results: what sequence parallelism turns

  double forward_flops() const { return layer_flops + other_flops + fixed_flops; }
  // The backward pass has two products for each of the forward pass; recomputed layers run once more.
  double step_flops(bool recompute) const {
    return 3 * (layer_flops + other_flops) + fixed_flops + (recompute ? layer_flops : 0);
  }
  // Kept for the backward pass, at its highest: with recomputation one layer's own, or what lies behind the layers.
  int64_t activation_bytes(bool recompute) const {
    if (!recompute) return early_bytes + layers * layer_bytes + late_bytes;
    return early_bytes + layers * input_bytes + std::max(layer_bytes, late_bytes);
  }
};

// `stage`: vae, tokenizer, dit or ar. Throws ErrorKind::usage for another, and for sizes that are no multiples of 32.
StageCost stage_cost(const std::string& stage, const Preset& preset, const SampleShape& sample, Precision precision);

}  // namespace glmimage::train
