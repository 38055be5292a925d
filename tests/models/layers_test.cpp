#include "models/layers/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "core/rng.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using test::relative_error;

// One product of weights that lie behind each other, against a product each: values and all gradients.
TEST(JoinedLinear, IsItsParts) {
  for (const Bias bias : {Bias::none, Bias::yes}) {
    std::vector<Linear> parts = {Linear(6, 5, bias), Linear(6, 2, bias), Linear(6, 3, bias)};
    const at::Tensor x = at::randn({4, 7, 6}, make_generator(1), at::kFloat).requires_grad_(true);
    std::vector<at::Tensor> leaves = {x};
    std::vector<const Linear*> pointers;
    for (Linear& part : parts) {
      part.weight = at::randn({part.out, part.in}, make_generator(2 + leaves.size()), at::kFloat).requires_grad_(true);
      leaves.push_back(part.weight);
      if (part.has_bias) {
        part.bias = at::randn({part.out}, make_generator(2 + leaves.size()), at::kFloat).requires_grad_(true);
        leaves.push_back(part.bias);
      }
      pointers.push_back(&part);
    }
    const at::Tensor weights = at::randn({4, 7, 10}, make_generator(9), at::kFloat);
    const at::Tensor joined = joined_linear(x, pointers), apart = at::cat({parts[0](x), parts[1](x), parts[2](x)}, -1);
    EXPECT_LT(relative_error(joined, apart), 1e-6);
    const auto got = torch::autograd::grad({joined}, leaves, {weights}),
               expected = torch::autograd::grad({apart}, leaves, {weights});
    for (size_t i = 0; i < leaves.size(); ++i) EXPECT_LT(relative_error(got[i], expected[i]), 1e-6) << i;
  }
}

}  // namespace
}  // namespace glmimage
