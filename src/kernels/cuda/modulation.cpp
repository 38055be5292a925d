#include "kernels/cuda/modulation.h"

#include <ATen/ops/empty.h>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/runtime.h"

namespace glmimage::kernels::cuda {
namespace {

constexpr Kernel kModulatedNorm{"modulation", "modulated_norm"}, kGatedResidual{"modulation", "gated_residual"};

bool is_factor(const at::Tensor& factor, const at::Tensor& tokens) {
  return factor.dim() == 3 && factor.size(1) == 1 && factor.size(2) == tokens.size(2) &&
         (factor.size(0) == 1 || factor.size(0) == tokens.size(0)) && in_chunks(factor);
}

bool is_run(const at::Tensor& tokens) { return tokens.dim() == 3 && in_chunks(tokens) && fits_a_block(tokens); }

int64_t batch_stride(const at::Tensor& x) { return x.size(0) == 1 ? 0 : x.stride(0); }

TokenRun run_of(const at::Tensor& tokens, const at::Tensor& shift, const at::Tensor& scale) {
  return {.tokens = tokens.const_data_ptr(),
          .shift = shift.const_data_ptr(),
          .scale = scale.const_data_ptr(),
          .batch = tokens.stride(0),
          .token = tokens.stride(1),
          .factor_batch = batch_stride(shift)};
}

at::Tensor add_one(const Gated& run, const at::Tensor& update, int64_t from) {
  const at::Tensor y = at::empty(run.tokens.sizes(), run.tokens.options());  // (B, T, D)
  if (y.numel() == 0) return y;
  const at::Tensor part = update.narrow(1, from, y.size(1));
  const GatedResidualArguments arguments{.run = run_of(run.tokens, run.gate, run.gate),
                                         .update = part.const_data_ptr(),
                                         .update_batch = part.stride(0),
                                         .update_token = part.stride(1),
                                         .y = y.mutable_data_ptr(),
                                         .count = static_cast<int>(y.size(1)),
                                         .width = static_cast<int>(y.size(2))};
  const Launch launch{
      .device = y.device(), .type = y.scalar_type(), .blocks = y.size(0) * y.size(1), .threads = kRowThreads};
  runtime().start(kGatedResidual, launch, &arguments);
  return y;
}

}  // namespace

bool can_norm(const Modulated& first, const Modulated& second) {
  return second.tokens.numel() > 0 &&
         serves({second.tokens, first.tokens, first.shift, first.scale, second.shift, second.scale}) &&
         is_run(first.tokens) && is_run(second.tokens) && is_factor(first.shift, second.tokens) &&
         is_factor(first.scale, second.tokens) && is_factor(second.shift, second.tokens) &&
         is_factor(second.scale, second.tokens) && batch_stride(first.shift) == batch_stride(first.scale) &&
         batch_stride(second.shift) == batch_stride(second.scale);
}

at::Tensor modulated_norm(const Modulated& first, const Modulated& second, double eps) {
  const int64_t all = first.tokens.size(1) + second.tokens.size(1);
  const at::Tensor y = at::empty({second.tokens.size(0), all, second.tokens.size(2)}, second.tokens.options());
  const ModulatedNormArguments arguments{.first = run_of(first.tokens, first.shift, first.scale),
                                         .second = run_of(second.tokens, second.shift, second.scale),
                                         .y = y.mutable_data_ptr(),
                                         .first_count = static_cast<int>(first.tokens.size(1)),
                                         .second_count = static_cast<int>(second.tokens.size(1)),
                                         .width = static_cast<int>(y.size(2)),
                                         .eps = static_cast<float>(eps)};
  const Launch launch{.device = y.device(), .type = y.scalar_type(), .blocks = y.size(0) * all, .threads = kRowThreads};
  runtime().start(kModulatedNorm, launch, &arguments);
  return y;
}

bool can_add(const Gated& first, const Gated& second, const at::Tensor& update) {
  return second.tokens.numel() > 0 && serves({second.tokens, first.tokens, first.gate, second.gate, update}) &&
         is_run(first.tokens) && is_run(second.tokens) && is_run(update) && is_factor(first.gate, second.tokens) &&
         is_factor(second.gate, second.tokens) && update.size(0) == second.tokens.size(0) &&
         update.size(2) == second.tokens.size(2) && update.size(1) == first.tokens.size(1) + second.tokens.size(1);
}

TokenPair gated_residual(const Gated& first, const Gated& second, const at::Tensor& update) {
  return {add_one(first, update, 0), add_one(second, update, first.tokens.size(1))};
}

}  // namespace glmimage::kernels::cuda
