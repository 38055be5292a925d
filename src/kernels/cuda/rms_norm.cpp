#include "kernels/cuda/rms_norm.h"

#include <ATen/ops/empty.h>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/runtime.h"

namespace glmimage::kernels::cuda {
namespace {

Launch one_block_a_row(const at::Tensor& x) {
  return {.device = x.device(), .type = x.scalar_type(), .blocks = x.numel() / x.size(-1), .threads = kRowThreads};
}

AddNormedArguments arguments_of(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps) {
  return {.x = x.const_data_ptr(),
          .update = update.const_data_ptr(),
          .weight = weight.const_data_ptr(),
          .next_weight = nullptr,
          .sum = nullptr,
          .normed = nullptr,
          .width = static_cast<int>(x.size(-1)),
          .eps = static_cast<float>(eps)};
}

constexpr Kernel kRmsNorm{"norm", "rms_norm"}, kAddNormed{"norm", "add_normed"};

}  // namespace

bool can_norm(const at::Tensor& x, const at::Tensor& weight) {
  return serves({x, weight}) && x.numel() > 0 && x.is_contiguous() && in_chunks(x) && in_chunks(weight) &&
         weight.dim() == 1 && weight.size(0) == x.size(-1) && fits_a_block(x);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor y = at::empty(x.sizes(), x.options());
  const RmsNormArguments arguments{.x = x.const_data_ptr(),
                                   .weight = weight.const_data_ptr(),
                                   .y = y.mutable_data_ptr(),
                                   .width = static_cast<int>(x.size(-1)),
                                   .eps = static_cast<float>(eps)};
  runtime().start(kRmsNorm, one_block_a_row(x), &arguments);
  return y;
}

bool can_add_normed(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight) {
  return can_norm(update, weight) && serves({x, update}) && x.sizes() == update.sizes() && x.is_contiguous() &&
         in_chunks(x);
}

at::Tensor add_normed(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps) {
  const at::Tensor sum = at::empty(x.sizes(), x.options());
  AddNormedArguments arguments = arguments_of(x, update, weight, eps);
  arguments.sum = sum.mutable_data_ptr();
  runtime().start(kAddNormed, one_block_a_row(x), &arguments);
  return sum;
}

SumAndNormed add_normed_then_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight,
                                  const at::Tensor& next_weight, double eps) {
  const SumAndNormed out{at::empty(x.sizes(), x.options()), at::empty(x.sizes(), x.options())};
  AddNormedArguments arguments = arguments_of(x, update, weight, eps);
  arguments.next_weight = next_weight.const_data_ptr();
  arguments.sum = out.sum.mutable_data_ptr();
  arguments.normed = out.normed.mutable_data_ptr();
  runtime().start(kAddNormed, one_block_a_row(x), &arguments);
  return out;
}

}  // namespace glmimage::kernels::cuda
