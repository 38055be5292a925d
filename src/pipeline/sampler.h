#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace glmimage {

// How the next id is drawn from the logits.
struct SamplerOptions {
  double temperature = 0.9;  // 0: the most likely id, nothing is drawn
  double top_p = 0.75;       // 0 … 1; 1: off
  int64_t top_k = 0;         // 0: off
};

// Throws ErrorKind::usage naming the option that is out of range.
void validate(const SamplerOptions& options);

// The distribution transformers' generate() draws from: logits (B, V) float32 -> (B, V), rows sum to one. Order:
// temperature, top-k, top-p, softmax. Top-p keeps an id iff the running sum from the smallest one exceeds 1 - top_p.
// temperature must be positive.
at::Tensor sampling_probabilities(const at::Tensor& logits, const SamplerOptions& options);

// Draws one id per row: logits (B, V), any float type and device -> ids (B) int64 on the CPU, each in [0, legal).
// The draw is that of torch.multinomial(probabilities, 1) with the same generator state, made on the CPU in float32: it
// picks argmax(p/q), q exponential, so leaving out the ids from `legal` on (their p set to zero after the softmax, not
// renormalised) keeps every draw that was legal anyway. V exponentials are drawn per row whatever the logits are. When
// no legal id has a positive probability, the largest legal logit wins.
// Throws ErrorKind::internal when the logits hold NaN.
at::Tensor sample(const at::Tensor& logits, const SamplerOptions& options, int64_t legal, at::Generator& generator);

// What `count` calls of sample() for one row draw before they look at the logits (V): (count, V) float32 on the CPU, a
// row for each. Nothing for temperature 0: (count, 0).
at::Tensor draw_noise(int64_t count, int64_t V, const SamplerOptions& options, at::Generator& generator);

// sample() where the logits lie, with noise drawn in advance, so that nobody waits for the device: logits (1, V),
// noise (1, V) on its device -> (1) int64 there; -1 when the logits hold NaN, which check_drawn reports. The same id as
// sample() gives, but for roundings of softmax and sums on that device.
at::Tensor sample_in_place(const at::Tensor& logits, const at::Tensor& noise, const SamplerOptions& options,
                           int64_t legal);
// Throws ErrorKind::internal when one of the ids, int64 on the CPU, is -1.
void check_drawn(const at::Tensor& ids);

}  // namespace glmimage
