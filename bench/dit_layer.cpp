#include <c10/core/InferenceMode.h>

#include "bench/layers.h"
#include "core/error.h"
#include "models/dit/block.h"
#include "models/dit/rope.h"

namespace glmimage::bench {

void bench_dit_layer(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  constexpr int64_t kPixelsPerToken = 16;
  const c10::InferenceMode inference;
  DitBlock block(sizes.dit_heads, sizes.dit_head_dim, sizes.time_dim);
  ParameterList parameters;
  block.list(parameters, "block");
  fill(parameters, format);
  quantise_layers(parameters, format);
  const int64_t width = sizes.dit_heads * sizes.dit_head_dim;
  const at::Tensor e = noise({1, sizes.time_dim}, format);  // (1, T)
  for (const int64_t side : sizes.picture_sides) {
    const int64_t grid = side / kPixelsPerToken, tokens = grid * grid + sizes.glyph_tokens;
    const DitStreams streams = {noise({1, grid * grid, width}, format), noise({1, sizes.glyph_tokens, width}, format)};
    DitAttention attention;
    attention.rope = dit_rope({grid, grid}, sizes.dit_head_dim, sizes.glyph_tokens, format.device);
    const std::string key = concat("dit_layer.step_", side);
    report.add(
        key,
        concat("DiT layer, ", side, " x ", side, " (", grid * grid, " image, ", sizes.glyph_tokens, " glyph tokens)"),
        time_runs(repeats, [&] { block(streams, e, attention); }));
    // Four square matrices and two of four times the width; queries by keys, weights by values.
    report.set(key, "flops", 2 * tokens * 12 * width * width + 4 * tokens * tokens * width);
  }
}

}  // namespace glmimage::bench
