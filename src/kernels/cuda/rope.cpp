#include "kernels/cuda/rope.h"

#include <ATen/ops/empty.h>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/runtime.h"

namespace glmimage::kernels::cuda {
namespace {

constexpr Kernel kRope{"rope", "rope"};
constexpr int kThreads = 256, kWarps = kThreads / 32;

bool is_table(const at::Tensor& table, const at::Tensor& x) {
  return table.dim() == 4 && table.stride(3) == 1 && table.size(2) == 1 && table.size(1) == x.size(1) &&
         (table.size(0) == 1 || table.size(0) == x.size(0)) && 2 * table.size(3) <= x.size(3) &&
         (table.scalar_type() == x.scalar_type() || table.scalar_type() == at::kFloat) && table.device() == x.device();
}

int64_t batch_stride(const at::Tensor& table) { return table.size(0) == 1 ? 0 : table.stride(0); }

}  // namespace

bool can_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return x.dim() == 4 && x.numel() > 0 && serves({x}) && x.stride(3) == 1 && x.size(3) <= kHeadDim &&
         2 * cos.size(-1) <= kHeadDim && is_table(cos, x) && is_table(sin, x) &&
         cos.scalar_type() == sin.scalar_type() && cos.sizes() == sin.sizes() && cos.stride(1) == sin.stride(1) &&
         batch_stride(cos) == batch_stride(sin) && !cos.requires_grad() && !sin.requires_grad();
}

at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, std::optional<double> eps) {
  const at::Tensor y = at::empty(x.sizes(), x.options());
  const int64_t rows = x.size(0) * x.size(1) * x.size(2);
  const RopeArguments arguments{.x = x.const_data_ptr(),
                                .cos = cos.const_data_ptr(),
                                .sin = sin.const_data_ptr(),
                                .y = y.mutable_data_ptr(),
                                .rows = rows,
                                .tokens = static_cast<int>(x.size(1)),
                                .heads = static_cast<int>(x.size(2)),
                                .dim = static_cast<int>(x.size(3)),
                                .half = static_cast<int>(cos.size(3)),
                                .x_batch = x.stride(0),
                                .x_token = x.stride(1),
                                .x_head = x.stride(2),
                                .table_batch = batch_stride(cos),
                                .table_token = cos.stride(1),
                                .table_is_float = cos.scalar_type() == at::kFloat,
                                .eps = static_cast<float>(eps.value_or(-1))};
  const Launch launch{
      .device = x.device(), .type = x.scalar_type(), .blocks = (rows + kWarps - 1) / kWarps, .threads = kThreads};
  runtime().start(kRope, launch, &arguments);
  return y;
}

}  // namespace glmimage::kernels::cuda
