#include "models/dit/sequence.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/ones.h>

#include "core/error.h"

namespace glmimage {

DitInput own_tokens(const DitInput& whole, const SequenceParallel& sequence) {
  const int64_t image = whole.prior_ids.size(1), glyphs = whole.glyphs.size(1), parts = sequence.size();
  if (image % parts != 0) {
    fail(ErrorKind::usage, "sequence parallelism: ", parts, " processes do not divide the ", image,
         " image tokens of a picture");
  }
  DitInput own = whole;
  own.prior_ids = sequence.own_part(whole.prior_ids, 1);
  if (whole.prior_drop.defined() && whole.prior_drop.dim() == 2 && whole.prior_drop.size(1) == image) {
    own.prior_drop = sequence.own_part(whole.prior_drop, 1);
  }
  const int64_t missing = (parts - glyphs % parts) % parts;
  if (missing > 0) {
    own.glyphs = at::constant_pad_nd(whole.glyphs, {0, 0, 0, missing});
    const at::Tensor mask =
        whole.glyph_mask.defined()
            ? whole.glyph_mask
            : at::ones({1, glyphs}, at::TensorOptions().dtype(at::kBool).device(whole.glyphs.device()));
    own.glyph_mask = at::constant_pad_nd(mask, {0, missing});
  }
  own.glyphs = sequence.own_part(own.glyphs, 1);
  return own;
}

DitRope own_rope(Grid grid, int64_t head_dim, int64_t glyphs, at::Device device, const SequenceParallel& sequence) {
  const DitRope all = dit_rope(grid, head_dim, glyphs, device);
  const auto own = [&](const at::Tensor& rows) {  // (G + N, 1, head_dim/2)
    return at::cat(
        {sequence.own_part(rows.narrow(0, 0, glyphs), 0), sequence.own_part(rows.narrow(0, glyphs, grid.count()), 0)},
        0);
  };
  return {own(all.cos), own(all.sin)};
}

}  // namespace glmimage
