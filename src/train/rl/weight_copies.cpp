#include "train/rl/weight_copies.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

namespace glmimage::train::rl {

FlowModel frozen_copy(const FlowModel& model, const StageOptions& options) {
  FlowModel copy = model;
  ParameterList all;
  copy.list(all);
  for (const Parameter& p : all) *p.tensor = p.tensor->detach().to(options.device);
  for (const Parameter& p : trained_parameters(copy, options.config)) {
    *p.tensor = p.tensor->detach().to(options.device).clone().requires_grad_(true);
  }
  return copy;
}

ParameterList named_copy(FlowModel& copy, const TrainConfig& config, const std::string& prefix) {
  ParameterList list = trained_parameters(copy, config);
  for (Parameter& p : list) p.name = prefix + p.name;
  return list;
}

void follow(const ParameterList& copy, const ParameterList& model, double keep) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < copy.size(); ++i) copy[i].tensor->mul_(keep).add_(model[i].tensor->detach(), 1 - keep);
}

}  // namespace glmimage::train::rl
