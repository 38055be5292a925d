#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace glmimage::kernels {

// What an update reads and writes, parameter by parameter: lists of one length, tensors of a parameter of one shape, on
// one device. float32 on a CPU; accelerators take bfloat16 and half too.
struct AdamWTensors {
  std::vector<at::Tensor> parameters, gradients;  // gradients are read alone
  std::vector<at::Tensor> exp_avgs, exp_avg_sqs;  // first and second moments
  std::vector<at::Tensor> steps;                  // scalars, float32: updates including this one, 1 at the first
};

struct AdamWStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0;  // decoupled
};

// One update of AdamW (Loshchilov and Hutter 2019, algorithm 2), in place:
//   p -= lr · weight_decay · p;  m = β1 m + (1 - β1) g;  v = β2 v + (1 - β2) g²
//   p -= lr · m / (1 - β1^t) / (sqrt(v / (1 - β2^t)) + eps)
// by the device's fused operator where it has one, else by foreach operators. No gradient is followed. Throws
// ErrorKind::internal for lists that do not match.
void adam_w(const AdamWTensors& tensors, const AdamWStep& step);

}  // namespace glmimage::kernels
