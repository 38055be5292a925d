#include "train/losses/ar_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/index_select.h>

namespace glmimage::train {

namespace {

// Hidden states of all tokens, (B, T, D). Of a divided sequence each process runs its part, padded on the right.
at::Tensor hidden_states(const ArModel& model, const SequenceBatch& batch, Activations activations) {
  if (!model.sequence) {
    return model.forward(model.embed(batch.ids), model.rope(batch.positions), std::nullopt, activations);
  }
  const SequenceParallel& sequence = *model.sequence;
  const int64_t tokens = batch.ids.size(1), missing = (sequence.size() - tokens % sequence.size()) % sequence.size();
  const at::Tensor ids = sequence.own_part(at::constant_pad_nd(batch.ids, {0, missing}), 1),
                   positions = sequence.own_part(at::constant_pad_nd(batch.positions, {0, missing}), 2);
  const at::Tensor own = model.forward(model.embed(ids), model.rope(positions), std::nullopt, activations);
  return sequence.gather_tokens(own).narrow(1, 0, tokens);
}

}  // namespace

at::Tensor sequence_loss(const ArModel& model, const SequenceBatch& batch, Activations activations) {
  const at::Tensor hidden = hidden_states(model, batch, activations);  // (B, T, D)
  // The head runs only where something is to be predicted: prompts are half of all places.
  const at::Tensor flat = batch.targets.flatten();
  const at::Tensor places = (flat >= 0).nonzero().flatten();                             // (n)
  const at::Tensor logits = model.logits(hidden.flatten(0, 1).index_select(0, places));  // (n, Vv)
  const at::Tensor targets = flat.index_select(0, places), scores = logits.to(at::kFloat);
  if (!batch.weights.defined()) return at::cross_entropy_loss(scores, targets);
  const at::Tensor weights = batch.weights.flatten().index_select(0, places);  // (n)
  const at::Tensor each = at::cross_entropy_loss(scores, targets, {}, at::Reduction::None);
  return (each * weights).sum() / weights.sum();
}

double target_weight(const SequenceBatch& batch) {
  const at::Tensor targets = batch.targets >= 0;  // (B, T)
  return (batch.weights.defined() ? batch.weights * targets : targets).sum().item<double>();
}

}  // namespace glmimage::train
