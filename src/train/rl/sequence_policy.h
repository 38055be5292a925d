#pragma once

#include <ATen/core/Tensor.h>

#include "models/ar/model.h"
#include "train/losses/ar_loss.h"

namespace glmimage::train::rl {

// The log-probabilities of all targets of a batch, n of them, in one teacher-forced pass.
struct TokenLogProbabilities {
  at::Tensor values;  // (n) float32, with its gradient
  at::Tensor rows;    // (n) int64: the sequence each belongs to
};
// At temperature 1 over the whole vocabulary, whatever the roll-out was drawn with.
TokenLogProbabilities token_log_probabilities(const ArModel& model, const SequenceBatch& batch,
                                              Activations activations = Activations::keep);

// exp(Δ) - Δ - 1 with Δ = log π_ref - log π, the mean over tokens: an estimate of the KL divergence from the reference
// that is never negative and has no bias (Schulman's k3, as in GRPO, Shao et al. 2024, eq. 4). -> scalar
at::Tensor divergence(const at::Tensor& log_p, const at::Tensor& reference_log_p);

}  // namespace glmimage::train::rl
