#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/remainder.h>
#include <c10/core/InferenceMode.h>

#include "bench/layers.h"
#include "core/error.h"
#include "models/glyph/encoder.h"
#include "models/visual_tokenizer/vision_tower.h"

namespace glmimage::bench {

void bench_vision_layer(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  const c10::InferenceMode inference;
  VisionConfig config;
  config.depth = 1;
  config.hidden_size = sizes.vision_width;
  config.heads = sizes.vision_heads;
  config.intermediate_size = sizes.vision_feed_forward;
  VisionBlock block(config);
  ParameterList parameters;
  block.list(parameters, "block");
  fill(parameters, format);
  const int64_t n = sizes.vision_tokens, width = sizes.vision_width;
  const at::Tensor x = noise({1, n, width}, format);  // (1, n, E)
  report.add("vision_layer", concat("vision tower, one layer, ", n, " patches"), time_runs(repeats, [&] { block(x); }));
  report.set("vision_layer", "flops",
             2 * n * (4 * width * width + 2 * width * sizes.vision_feed_forward) + 4 * n * n * width);
}

void bench_glyph_layers(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  const c10::InferenceMode inference;
  GlyphConfig config;
  config.vocab_size = 384;
  config.width = sizes.glyph_width;
  config.head_dim = sizes.glyph_head_dim;
  config.heads = sizes.glyph_heads;
  config.feed_forward = sizes.glyph_feed_forward;
  config.layers = sizes.glyph_layers;
  config.buckets = 32;
  config.max_distance = 128;
  config.eps = 1e-6;
  GlyphEncoder encoder(config);
  ParameterList parameters;
  encoder.list(parameters);
  fill(parameters, format);
  const at::Tensor ids = at::remainder(at::arange(sizes.glyph_tokens, at::kLong) * 7, 200)
                             .unsqueeze(0)
                             .add(3)
                             .to(format.device);  // (1, T)
  report.add("glyph_encoder",
             concat("glyph encoder, ", sizes.glyph_layers, " layers, ", sizes.glyph_tokens, " bytes of text"),
             time_runs(repeats, [&] { encoder.forward(ids); }));
  report.set("glyph_encoder", "bytes", bytes_of(parameters));
}

}  // namespace glmimage::bench
