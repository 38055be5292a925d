#include "models/layers/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <memory>
#include <optional>

#include "core/autocast.h"
#include "core/error.h"

namespace glmimage {
namespace {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// In the graph it stands for the whole block.
class RunAgain : public torch::autograd::Node {
 public:
  RunAgain(Block block, const std::vector<at::Tensor>& inputs)
      : block_(std::move(block)), device_(inputs.front().device()), precision_(Autocast::current(device_)) {
    for (const at::Tensor& input : inputs) inputs_.emplace_back(input, /*is_output=*/false);
    set_next_edges(torch::autograd::collect_next_edges(inputs));
  }

  // The block's values, without a history but this node.
  static std::vector<at::Tensor> forward(const std::shared_ptr<RunAgain>& node, const std::vector<at::Tensor>& inputs) {
    std::vector<at::Tensor> outputs;
    {
      at::NoGradGuard no_grad;
      // A copy of a weight that is made here knows no gradient and must not be found by those who need one.
      const Autocast uncached(node->device_, node->precision_, Autocast::WeightCopies::drop);
      outputs = node->block_(inputs);
    }
    for (at::Tensor& output : outputs) {
      output = output.variable_data();  // a block may hand an input through, which keeps its own history
      torch::autograd::create_gradient_edge(output, node);
    }
    return outputs;
  }

  variable_list apply(variable_list&& grads) override {
    if (inputs_.empty()) fail(ErrorKind::internal, "a recomputed block was back-propagated through twice");
    std::vector<at::Tensor> inputs;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const at::Tensor input = inputs_[i].unpack();
      inputs.push_back(input.detach().requires_grad_(input.requires_grad() && task_should_compute_output(i)));
    }
    run_again(inputs, grads);
    variable_list out;
    for (const at::Tensor& input : inputs) out.push_back(input.requires_grad() ? input.grad() : at::Tensor());
    return out;
  }

  void release_variables() override { inputs_.clear(); }

 private:
  void run_again(const std::vector<at::Tensor>& inputs, const variable_list& grads) const {
    at::AutoGradMode with_grad(true);
    std::vector<at::Tensor> outputs;
    {
      const Autocast as_before(device_, precision_, Autocast::WeightCopies::drop);
      outputs = block_(inputs);
    }
    variable_list roots, root_grads;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_grads.push_back(grads[i]);
    }
    if (!roots.empty()) torch::autograd::backward(roots, root_grads);
  }

  Block block_;
  at::Device device_;
  std::optional<at::ScalarType> precision_;
  std::vector<SavedVariable> inputs_;
};

}  // namespace

std::vector<at::Tensor> run_block(Activations activations, const Block& block, const std::vector<at::Tensor>& inputs) {
  if (activations == Activations::keep || !at::GradMode::is_enabled()) return block(inputs);
  const std::shared_ptr<RunAgain> node(new RunAgain(block, inputs), torch::autograd::deleteNode);
  return RunAgain::forward(node, inputs);
}

}  // namespace glmimage
