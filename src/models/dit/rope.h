#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/tokens.h"

namespace glmimage {

// The angles of one joint sequence [glyph tokens ; image tokens], as cosines and sines.
struct DitRope {
  at::Tensor cos, sin;  // (G + N, 1, head_dim/2) float32; the rows of glyph tokens are the identity (1 and 0)
};

// Token (r, c) of the grid turns by [r·f ‖ c·f], f = 10000^(-2k/(head_dim/2)), origin (0, 0) for targets and
// references alike. Glyph tokens have no place in the picture and do not turn: their rows let one multiplication serve
// the whole sequence. Reference: diffusers, GlmImageRotaryPosEmbed.
DitRope dit_rope(Grid grid, int64_t head_dim, int64_t glyph_tokens, at::Device device);

}  // namespace glmimage
