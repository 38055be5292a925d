#include "train/rl/sequence_policy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/floor_divide.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log_softmax.h>

namespace glmimage::train::rl {

TokenLogProbabilities token_log_probabilities(const ArModel& model, const SequenceBatch& batch,
                                              Activations activations) {
  const at::Tensor hidden =
      model.forward(model.embed(batch.ids), model.rope(batch.positions), std::nullopt, activations);  // (B, T, D)
  const at::Tensor flat = batch.targets.flatten();
  const at::Tensor places = (flat >= 0).nonzero().flatten();                             // (n)
  const at::Tensor logits = model.logits(hidden.flatten(0, 1).index_select(0, places));  // (n, Vv)
  const at::Tensor all = at::log_softmax(logits.to(at::kFloat), -1);
  const at::Tensor targets = flat.index_select(0, places).unsqueeze(1);  // (n, 1)
  return {all.gather(1, targets).squeeze(1), at::floor_divide(places, batch.targets.size(1))};
}

at::Tensor divergence(const at::Tensor& log_p, const at::Tensor& reference_log_p) {
  const at::Tensor delta = reference_log_p.detach() - log_p;
  return (delta.exp() - delta - 1).mean();
}

}  // namespace glmimage::train::rl
