#include "models/dit/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>

namespace glmimage {

DitRope dit_rope(Grid grid, int64_t head_dim, int64_t glyph_tokens, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const int64_t axis = head_dim / 2, pairs = axis / 2;
  const auto [h, w] = grid;
  const at::Tensor steps = at::arange(0, axis, 2, options) / static_cast<double>(axis);  // (pairs)
  const at::Tensor frequencies = at::pow(10000.0, steps).reciprocal();                   // (pairs)
  const at::Tensor down = at::arange(h, options).unsqueeze(1) * frequencies;             // (h, pairs)
  const at::Tensor across = at::arange(w, options).unsqueeze(1) * frequencies;           // (w, pairs)
  const at::Tensor image =
      at::cat({down.unsqueeze(1).expand({h, w, pairs}), across.unsqueeze(0).expand({h, w, pairs})}, -1)
          .reshape({h * w, 2 * pairs});  // (N, head_dim/2)
  const at::Tensor angles = at::cat({at::zeros({glyph_tokens, 2 * pairs}, options), image}).unsqueeze(1);
  return {at::cos(angles), at::sin(angles)};
}

}  // namespace glmimage
