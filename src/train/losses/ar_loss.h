#pragma once

#include <ATen/core/Tensor.h>

#include "models/ar/model.h"

namespace glmimage::train {

struct SequenceBatch {
  at::Tensor ids;           // (B, T) int64, padded on the right with the end id
  at::Tensor positions;     // (3, B, T) int64
  at::Tensor targets;       // (B, T) int64: the next id where it counts, else -100
  at::Tensor weights = {};  // (B, T) float32: how much each target counts; undefined: all the same
};

// Mean cross entropy over the places that have a target, at least one, by their weights -> scalar float32.
at::Tensor sequence_loss(const ArModel& model, const SequenceBatch& batch, Activations activations = Activations::keep);

// What that mean is taken over: the sum of the weights of all targets.
double target_weight(const SequenceBatch& batch);

}  // namespace glmimage::train
