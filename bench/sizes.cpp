#include "bench/layers.h"

namespace glmimage::bench {

LayerSizes LayerSizes::quick() {
  return {.ar_width = 64,
          .ar_feed_forward = 96,
          .ar_heads = 4,
          .ar_kv_heads = 2,
          .visual_vocabulary = 256,
          .prompt_tokens = 32,
          .cached_tokens = 40,
          .dit_heads = 2,
          .dit_head_dim = 32,
          .time_dim = 16,
          .image_tokens = 16,
          .vision_width = 64,
          .vision_feed_forward = 96,
          .vision_heads = 4,
          .vision_tokens = 16,
          .glyph_width = 64,
          .glyph_feed_forward = 96,
          .glyph_heads = 2,
          .glyph_head_dim = 16,
          .vae_widths = {8, 16, 16, 16},
          .vae_layers = 1,
          .vae_groups = 4,
          .picture_sides = {64}};
}

}  // namespace glmimage::bench
