#include "train/optim/adam_w.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace glmimage::train {

AdamW::AdamW(const ParameterList& parameters, AdamWOptions options) : options_(options), groups_(2) {
  groups_[0].weight_decay = options.weight_decay;
  for (const Parameter& p : parameters) {
    p.tensor->requires_grad_(true);
    Group& group = groups_[p.shape.size() >= 2 ? 0 : 1];
    at::Tensor zeros = at::zeros_like(p.tensor->detach());
    group.slots.push_back({p.name, *p.tensor, zeros, zeros.clone(), at::zeros({}, zeros.options().dtype(at::kFloat))});
  }
}

UpdateReport AdamW::step(double lr, double gradient_scale) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> all_grads;
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) {
      if (slot.parameter.grad().defined()) all_grads.push_back(slot.parameter.grad());
    }
  }
  if (all_grads.empty()) fail(ErrorKind::internal, "an optimiser step without gradients");
  if (gradient_scale != 1) at::_foreach_mul_(all_grads, gradient_scale);
  const double norm = at::stack(at::_foreach_norm(all_grads)).norm().item<double>();
  const bool finite = std::isfinite(norm);
  if (finite && options_.max_grad_norm > 0 && norm > options_.max_grad_norm) {
    at::_foreach_mul_(all_grads, options_.max_grad_norm / (norm + 1e-6));
  }
  for (Group& group : groups_) {
    std::vector<at::Tensor> parameters, grads, exp_avgs, exp_avg_sqs, steps;
    for (Slot& slot : group.slots) {
      if (!slot.parameter.grad().defined()) continue;
      parameters.push_back(slot.parameter);
      grads.push_back(slot.parameter.grad());
      exp_avgs.push_back(slot.exp_avg);
      exp_avg_sqs.push_back(slot.exp_avg_sq);
      slot.step += finite ? 1 : 0;
      steps.push_back(slot.step);
    }
    if (finite && !parameters.empty()) {
      at::_fused_adamw_(parameters, grads, exp_avgs, exp_avg_sqs, /*max_exp_avg_sqs=*/{}, steps, lr, options_.beta1,
                        options_.beta2, group.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
    }
    for (Slot& slot : group.slots) slot.parameter.mutable_grad() = at::Tensor();
  }
  return {norm, !finite};
}

NamedTensors AdamW::state() const {
  NamedTensors out;
  for (const Group& group : groups_) {
    for (const Slot& slot : group.slots) {
      out.emplace_back(slot.name + ".exp_avg", slot.exp_avg);
      out.emplace_back(slot.name + ".exp_avg_sq", slot.exp_avg_sq);
      out.emplace_back(slot.name + ".step", slot.step);
    }
  }
  return out;
}

void AdamW::load_state(const SafetensorsFile& file) {
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) {
      slot.exp_avg.copy_(file.tensor(slot.name + ".exp_avg"));
      slot.exp_avg_sq.copy_(file.tensor(slot.name + ".exp_avg_sq"));
      slot.step.copy_(file.tensor(slot.name + ".step"));
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

Ema::Ema(const ParameterList& parameters, double decay) : decay_(decay) {
  if (decay == 0) return;
  for (const Parameter& p : parameters) {
    names_.push_back(p.name);
    parameters_.push_back(p.tensor->detach());
    shadows_.push_back(p.tensor->detach().clone());
  }
}

void Ema::update(int64_t step) {
  if (shadows_.empty()) return;
  at::NoGradGuard no_grad;
  const double decay = std::min(decay_, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
  at::_foreach_lerp_(shadows_, parameters_, 1.0 - decay);
}

NamedTensors Ema::state() const {
  NamedTensors out;
  for (size_t i = 0; i < names_.size(); ++i) out.emplace_back(names_[i], shadows_[i]);
  return out;
}

void Ema::load_state(const SafetensorsFile& file) {
  for (size_t i = 0; i < names_.size(); ++i) shadows_[i].copy_(file.tensor(names_[i]));
}

void Ema::apply() const {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < names_.size(); ++i) parameters_[i].copy_(shadows_[i]);
}

void Ema::swap() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < names_.size(); ++i) {
    const at::Tensor weights = parameters_[i].clone();
    parameters_[i].copy_(shadows_[i]);
    shadows_[i].copy_(weights);
  }
}

}  // namespace glmimage::train
