#pragma once

#include <cstdint>
#include <vector>

#include "bench/report.h"
#include "bench/weights.h"

namespace glmimage::bench {

// Sizes of the single layers. The defaults are the published model's. bench/compare/reference_layers.py and
// ggml/bench_ggml.cpp have the same numbers.
struct LayerSizes {
  int64_t ar_width = 4096, ar_feed_forward = 13696, ar_heads = 32, ar_kv_heads = 2, visual_vocabulary = 16512;
  int64_t prompt_tokens = 1024, cached_tokens = 1300;
  int64_t dit_heads = 32, dit_head_dim = 128, time_dim = 512, glyph_tokens = 16;
  int64_t image_tokens = 1024;  // of the products alone
  int64_t vision_width = 1536, vision_feed_forward = 6144, vision_heads = 16, vision_tokens = 1024;
  int64_t glyph_width = 1472, glyph_feed_forward = 3584, glyph_heads = 6, glyph_head_dim = 64, glyph_layers = 2;
  std::vector<int64_t> vae_widths = {128, 512, 1024, 1024};
  int64_t vae_layers = 3, vae_groups = 32;
  std::vector<int64_t> picture_sides = {512};  // pixels; of the diffusion transformer and the VAE

  // A smoke run: everything runs in a second, the numbers mean nothing.
  static LayerSizes quick();
};

// One layer each, with random weights, through the structs the pipeline uses. CPU, under InferenceMode. Beside the time
// stands what the work is at least: "flops" of products and convolutions, or the "bytes" of weights that a token reads.
void bench_ar_layer(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);
void bench_dit_layer(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);
void bench_vision_layer(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);
void bench_glyph_layers(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);
void bench_vae_encoder(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);
void bench_vae_decoder(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);

// The matrix products of a layer alone: one token and many through those of an AR layer, many through a DiT layer's.
void bench_products(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats);

}  // namespace glmimage::bench
