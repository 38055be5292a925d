#include "train/optim/adam_w.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "kernels/adam_w.h"

namespace glmimage::train {

std::vector<TensorPiece> whole_parameters(const ParameterList& parameters) {
  std::vector<TensorPiece> pieces;
  for (const Parameter& p : parameters) {
    p.tensor->requires_grad_(true);
    pieces.push_back({p.name, *p.tensor, p.shape});
  }
  return pieces;
}

AdamW::AdamW(const std::vector<TensorPiece>& pieces, AdamWOptions options) : options_(options), groups_(2) {
  groups_[0].weight_decay = options.weight_decay;
  for (const TensorPiece& piece : pieces) {
    Group& group = groups_[piece.shape.size() >= 2 ? 0 : 1];
    at::Tensor zeros = at::zeros_like(piece.values.detach());
    group.slots.push_back({piece, zeros, zeros.clone(), at::zeros({}, zeros.options().dtype(at::kFloat))});
  }
}

double AdamW::norm_of(const std::vector<at::Tensor>& gradients, const SumOverAll& sum_of_squares) const {
  if (gradients.empty() && !sum_of_squares) fail(ErrorKind::internal, "an optimiser step without gradients");
  const double here = gradients.empty() ? 0 : at::stack(at::_foreach_norm(gradients)).norm().item<double>();
  return sum_of_squares ? std::sqrt(sum_of_squares(here * here)) : here;
}

UpdateReport AdamW::step(double lr, double gradient_scale, const SumOverAll& sum_of_squares) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> all_grads;
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) {
      if (slot.piece.values.grad().defined()) all_grads.push_back(slot.piece.values.grad());
    }
  }
  if (gradient_scale != 1 && !all_grads.empty()) at::_foreach_mul_(all_grads, gradient_scale);
  const double norm = norm_of(all_grads, sum_of_squares);
  const bool finite = std::isfinite(norm);
  if (finite && options_.max_grad_norm > 0 && norm > options_.max_grad_norm && !all_grads.empty()) {
    at::_foreach_mul_(all_grads, options_.max_grad_norm / (norm + 1e-6));
  }
  for (Group& group : groups_) {
    kernels::AdamWTensors tensors;
    for (Slot& slot : group.slots) {
      const at::Tensor& values = slot.piece.values;
      if (!values.grad().defined()) continue;
      tensors.parameters.push_back(values);
      tensors.gradients.push_back(values.grad());
      tensors.exp_avgs.push_back(slot.exp_avg);
      tensors.exp_avg_sqs.push_back(slot.exp_avg_sq);
      slot.step += finite ? 1 : 0;
      tensors.steps.push_back(slot.step);
    }
    if (finite) {
      kernels::adam_w(tensors, {.lr = lr,
                                .beta1 = options_.beta1,
                                .beta2 = options_.beta2,
                                .eps = options_.eps,
                                .weight_decay = group.weight_decay});
    }
    for (Slot& slot : group.slots) slot.piece.values.mutable_grad() = at::Tensor();
  }
  return {norm, !finite};
}

std::vector<TensorPiece> AdamW::state() const {
  std::vector<TensorPiece> out;
  for (const Group& group : groups_) {
    for (const Slot& slot : group.slots) {
      const auto& [name, values, shape, offset] = slot.piece;
      out.push_back({name + ".exp_avg", slot.exp_avg, shape, offset});
      out.push_back({name + ".exp_avg_sq", slot.exp_avg_sq, shape, offset});
      if (offset == 0) out.push_back({name + ".step", slot.step, {}});  // pieces of one parameter count alike
    }
  }
  return out;
}

void AdamW::load_state(const SavedTensors& saved) {
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) {
      const auto& [name, values, shape, offset] = slot.piece;
      saved.read({name + ".exp_avg", slot.exp_avg, shape, offset});
      saved.read({name + ".exp_avg_sq", slot.exp_avg_sq, shape, offset});
      saved.read({name + ".step", slot.step, {}});
    }
  }
}

double warmup_cosine(int64_t step, int64_t steps, int64_t warmup, double peak, double floor) {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double x = static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(1, steps - warmup));
  return peak * (floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, x))));
}

double warmup_constant(int64_t step, int64_t warmup, double peak) {
  return step < warmup ? peak * static_cast<double>(step + 1) / static_cast<double>(warmup) : peak;
}

Ema::Ema(const std::vector<TensorPiece>& pieces, double decay) : decay_(decay) {
  if (decay == 0) return;
  for (const TensorPiece& piece : pieces) {
    pieces_.push_back(piece);
    parameters_.push_back(piece.values.detach());
    shadows_.push_back(piece.values.detach().clone());
  }
}

void Ema::update(int64_t step) {
  if (shadows_.empty()) return;
  at::NoGradGuard no_grad;
  const double decay = std::min(decay_, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
  at::_foreach_lerp_(shadows_, parameters_, 1.0 - decay);
}

std::vector<TensorPiece> Ema::state() const {
  std::vector<TensorPiece> out = pieces_;
  for (size_t i = 0; i < out.size(); ++i) out[i].values = shadows_[i];
  return out;
}

void Ema::load_state(const SavedTensors& saved) {
  for (const TensorPiece& piece : state()) saved.read(piece);
}

void Ema::apply() const {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < shadows_.size(); ++i) parameters_[i].copy_(shadows_[i]);
}

void Ema::swap() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < shadows_.size(); ++i) {
    const at::Tensor weights = parameters_[i].clone();
    parameters_[i].copy_(shadows_[i]);
    shadows_[i].copy_(weights);
  }
}

}  // namespace glmimage::train
