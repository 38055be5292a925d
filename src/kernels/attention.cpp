#include "kernels/attention.h"

#include <ATen/ops/scaled_dot_product_attention.h>

#include "kernels/cpu/attention.h"

namespace glmimage::kernels {

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  if (cpu::can_attend(q, k, v, options)) return cpu::attend(q, k, v, options);
  const bool grouped = q.size(1) != k.size(1);
  return at::scaled_dot_product_attention(q, k, v, options.bias, /*dropout_p=*/0.0, options.mask == Mask::causal,
                                          options.scale, grouped);
}

}  // namespace glmimage::kernels
