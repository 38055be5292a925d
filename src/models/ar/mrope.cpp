#include "models/ar/mrope.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>

#include <vector>

#include "core/error.h"

namespace glmimage {

Rope mrope(const ArConfig& config, const at::Tensor& positions, const at::Tensor& like) {
  if (positions.dim() != 3 || positions.size(0) != 3) {
    fail(ErrorKind::internal, "rope positions: expected (3, B, T), came ", positions.sizes());
  }
  const int64_t rotary = config.rotary_dim();
  std::vector<int64_t> axes;  // the axis of each frequency
  for (size_t i = 0; i < config.mrope_section.size(); ++i) {
    axes.insert(axes.end(), static_cast<size_t>(config.mrope_section[i]), static_cast<int64_t>(i % 3));
  }
  const at::Device device = positions.device();
  at::Tensor exponents = at::arange(0, rotary, 2, at::kFloat).div(rotary);                  // (R/2)
  at::Tensor frequencies = at::pow(config.rope_theta, exponents).reciprocal().to(device);   // (R/2)
  at::Tensor axis = at::tensor(axes, at::kLong).to(device);                                 // (R/2)
  at::Tensor position = positions.to(at::kFloat).index_select(0, axis).permute({1, 2, 0});  // (B, T, R/2)
  at::Tensor angles = position.mul(frequencies).unsqueeze(2);                               // (B, T, 1, R/2)
  return {at::cos(angles).to(like.options()).contiguous(), at::sin(angles).to(like.options()).contiguous()};
}

}  // namespace glmimage
