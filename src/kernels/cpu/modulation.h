#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::cpu {

// Whether the twins take a tensor: float32 on the processor, three dimensions, neighbouring values side by side.
bool can_modulate(const at::Tensor& tensor);

// One run of tokens x (B, T, D) with its place in the joint tensor; factors are (B, 1, D), the batch's step may be 0.
struct Run {
  at::Tensor x;
  int64_t begin = 0;  // its first token's place among the joint ones
};

// Writes LN(x)·(1 + scale) + shift to joint, and each token's mean and inverse deviation to stats (B, T1 + T2, 2). Both
// are contiguous.
void modulated_norm(const Run& run, const at::Tensor& shift, const at::Tensor& scale, double eps, at::Tensor& joint,
                    at::Tensor& stats);

struct ModulationGradients {
  at::Tensor x, shift, scale;
};

ModulationGradients modulated_norm_gradients(const Run& run, const at::Tensor& scale, const at::Tensor& stats,
                                             const at::Tensor& joint_grad);

// x + gate · joint
at::Tensor gated_residual(const Run& run, const at::Tensor& gate, const at::Tensor& joint);

// Writes the run's part of the gradient of joint; returns that of the gate, (B, 1, D). x's is grad itself.
at::Tensor gated_residual_gradients(const Run& grad, const at::Tensor& gate, const at::Tensor& joint,
                                    at::Tensor& joint_grad);

}  // namespace glmimage::kernels::cpu
