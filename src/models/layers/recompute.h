#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace glmimage {

// What becomes of the values inside a block until the backward pass reads them.
enum class Activations {
  keep,
  recompute,  // only the block's inputs are kept; it runs once more when its gradient is wanted: less memory, more time
};

// A piece of a model: tensors in, tensors out. It may be called again after its maker is gone, so it holds what it
// needs by value, but for modules, which must outlive the backward pass. It must be free of chance and change nothing.
using Block = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

// block(inputs). With Activations::recompute nothing inside is kept: the backward pass runs the block again, under the
// autocast of the first time, and back-propagates through that (Chen et al. 2016, gradient checkpointing). Gradients
// are those of Activations::keep. Everything whose gradient must flow on is one of `inputs`; leaves (weights) need not
// be. For Tensor::backward(): torch::autograd::grad() with named inputs does not see the weights inside.
std::vector<at::Tensor> run_block(Activations activations, const Block& block, const std::vector<at::Tensor>& inputs);

}  // namespace glmimage
