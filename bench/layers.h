#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "bench/report.h"

namespace glmimage::bench {

// Sizes of the single layers. The defaults are the published model's.
struct LayerSizes {
  int64_t ar_width = 4096, ar_feed_forward = 13696, ar_heads = 32, ar_kv_heads = 2;
  int64_t prompt_tokens = 1024, cached_tokens = 1300;
  int64_t dit_heads = 32, dit_head_dim = 128, time_dim = 512, glyph_tokens = 16;
  std::vector<int64_t> dit_grids = {32, 64};  // image tokens a side
  std::vector<int64_t> vae_widths = {128, 512, 1024, 1024};
  int64_t vae_layers = 3, vae_groups = 32;
  std::vector<int64_t> picture_sides = {256};  // pixels

  // A smoke run: everything runs in a second, the numbers mean nothing.
  static LayerSizes quick();
};

// One layer each, with random weights, through the structs the pipeline uses. CPU, under InferenceMode.
void bench_ar_layer(Report& report, const LayerSizes& sizes, at::ScalarType dtype, Repeats repeats);
void bench_dit_layer(Report& report, const LayerSizes& sizes, at::ScalarType dtype, Repeats repeats);
void bench_vae_decoder(Report& report, const LayerSizes& sizes, at::ScalarType dtype, Repeats repeats);

}  // namespace glmimage::bench
