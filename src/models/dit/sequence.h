#pragma once

#include "models/dit/model.h"
#include "models/layers/sequence_parallel.h"

namespace glmimage {

// What one of several processes computes of a pass: its part of the image tokens and its part of the glyph tokens,
// which are padded to a multiple of the processes. Latents and the glyphs' mask stay whole. Throws ErrorKind::usage
// when the processes do not divide the image tokens.
DitInput own_tokens(const DitInput& whole, const SequenceParallel& sequence);

// The angles of these tokens: own_tokens' order, glyphs first. `glyphs`: those of all processes.
DitRope own_rope(Grid grid, int64_t head_dim, int64_t glyphs, at::Device device, const SequenceParallel& sequence);

}  // namespace glmimage
