#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "models/dit/model.h"

namespace glmimage {
namespace {

struct Glyphs {
  at::Tensor rows, mask;  // (batch, tokens, D), (batch, tokens) bool
};

// Glyphs of one pass with padding behind them, all `tokens` long.
Glyphs pad(const DitPrepared& pass, int64_t batch, int64_t tokens) {
  const int64_t missing = tokens - pass.glyphs.size(1);
  const at::Tensor padding = at::zeros({batch, missing, pass.glyphs.size(2)}, pass.glyphs.options());
  const auto flags = pass.glyphs.options().dtype(at::kBool);
  const at::Tensor real =
      pass.glyph_mask.defined() ? pass.glyph_mask.expand({batch, -1}) : at::ones({batch, pass.glyphs.size(1)}, flags);
  return {at::cat({pass.glyphs.expand({batch, -1, -1}), padding}, 1),
          at::cat({real, at::zeros({batch, missing}, flags)}, 1)};
}

}  // namespace

DitPrepared DitPrepared::pair(const DitPrepared& first, const DitPrepared& second, int64_t batch) {
  const DitPrepared& longer = first.glyphs.size(1) >= second.glyphs.size(1) ? first : second;
  const int64_t tokens = longer.glyphs.size(1);
  const Glyphs a = pad(first, batch, tokens), b = pad(second, batch, tokens);
  DitPrepared out = longer;  // grid, size and the rope of the longer sequence
  out.prior = at::cat({first.prior.expand({batch, -1, -1}), second.prior.expand({batch, -1, -1})});
  out.glyphs = at::cat({a.rows, b.rows});
  if (first.glyph_mask.defined() || second.glyph_mask.defined() || first.glyphs.size(1) != second.glyphs.size(1)) {
    out.glyph_mask = at::cat({a.mask, b.mask});
  }
  return out;
}

}  // namespace glmimage
