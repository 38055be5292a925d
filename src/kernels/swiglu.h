#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels {

// silu(gate) · up of a joint projection: gate_up (…, 2F), the gate first -> (…, F), of any float type and device.
// Shazeer 2020.
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace glmimage::kernels
