#include "train/rl/advantages.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/maximum.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace glmimage::train::rl {
namespace {

constexpr double kEps = 1e-8;

double mean_of(const double* values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += values[i];
  return sum / static_cast<double>(count);
}

double std_of(const double* values, size_t count, size_t over) {
  const double mean = mean_of(values, count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += (values[i] - mean) * (values[i] - mean);
  return std::sqrt(sum / static_cast<double>(over));
}

}  // namespace

Advantages make_advantages(const std::vector<double>& rewards, const AdvantageRule& rule) {
  const auto group = static_cast<size_t>(rule.group);
  if (group < 2 || rewards.empty() || rewards.size() % group != 0) {
    fail(ErrorKind::internal, rewards.size(), " rewards are no whole groups of ", rule.group);
  }
  Advantages out{std::vector<double>(rewards.size()), {}};
  const double groups = static_cast<double>(rewards.size() / group);
  out.spread.std = std_of(rewards.data(), rewards.size(), rewards.size());
  for (size_t first = 0; first < rewards.size(); first += group) {
    const double* own = rewards.data() + first;
    const double mean = mean_of(own, group), std = std_of(own, group, group - 1);
    const bool equal = std::all_of(own, own + group, [&](double value) { return value == own[0]; });
    out.spread.group_std += std / groups;
    out.spread.zero_share += equal ? 1 / groups : 0;
    double over = 1;
    switch (rule.norm) {
      case AdvantageNorm::group_std: over = std + kEps; break;
      case AdvantageNorm::rollout_std: over = out.spread.std + kEps; break;
      case AdvantageNorm::group_mean: break;
    }
    for (size_t i = 0; i < group && !equal; ++i) {
      out.values[first + i] = std::clamp((own[i] - mean) / over, -rule.limit, rule.limit);
    }
  }
  return out;
}

Clipped clipped_objective(const at::Tensor& ratio, const at::Tensor& advantages, double clip) {
  const at::Tensor free = -advantages * ratio, cut = -advantages * ratio.clamp(1 - clip, 1 + clip);
  return {at::maximum(free, cut), cut.detach().gt(free.detach()).to(at::kDouble).mean().item<double>()};
}

void expect_on_policy(const at::Tensor& ratio) {
  const at::Tensor off = ratio.detach().sub(1).abs().max();
  if (off.item<double>() == 0) return;
  fail(ErrorKind::internal, "the first update of a roll-out has a ratio that is off by ", off.item<double>(),
       " where it must be exactly 1: what was drawn and what is learned from are not the same");
}

}  // namespace glmimage::train::rl
