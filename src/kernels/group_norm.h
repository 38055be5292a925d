#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace glmimage::kernels {

// Group norm (Wu and He 2018) and SiLU in two steps, so that a picture can be gone through piece by piece with the
// statistics of the whole: silu(group_norm(x)) = scaled_silu(x, group_norm_factors(x, …)).

// What the norm over (C / groups, H, W) does to each channel: x (B, C, H, W) of any float type, weight and bias (C) ->
// (2, B, C), a factor and what is added, in float32 (of float64 in float64). The sums are float64 on a processor, so
// that neither the number of threads nor the layout shows; ATen's group_norm in channels_last adds float32 naively.
at::Tensor group_norm_factors(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                              double eps);

// silu(x · factors[0] + factors[1]) in the factors' type, rounded once to x's: x (B, C, H, W), factors (2, B, C) ->
// like x, dense, in x's layout (channels_last or contiguous). x may be some rows of a picture.
at::Tensor scaled_silu(const at::Tensor& x, const at::Tensor& factors);

}  // namespace glmimage::kernels
