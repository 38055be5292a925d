#include "pipeline/sampler.h"

#include <ATen/ops/amax.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "core/error.h"

namespace glmimage {
namespace {

constexpr double kRemoved = -std::numeric_limits<double>::infinity();

// Keeps the `count` largest scores of each row (and what ties with the last of them). scores (B, V) -> (B, V).
at::Tensor keep_top_k(const at::Tensor& scores, int64_t count) {
  at::Tensor largest = std::get<0>(at::topk(scores, std::min(count, scores.size(1)), 1));  // (B, k), descending
  return scores.masked_fill(scores.lt(largest.narrow(1, largest.size(1) - 1, 1)), kRemoved);
}

// The rule of top-p as the reference writes it: sort, running sum from the smallest, remove while it is at most
// 1 - top_p, never the largest. scores (B, V) -> (B, V) bool.
at::Tensor removed_by_sorting(const at::Tensor& scores, double top_p) {
  auto [sorted, order] = at::sort(scores, /*dim=*/1, /*descending=*/false);  // (B, V) each
  at::Tensor removed = at::softmax(sorted, 1).cumsum(1).le(1.0 - top_p);     // (B, V) bool
  removed.narrow(1, removed.size(1) - 1, 1).fill_(false);
  return removed.scatter(1, order, removed);
}

// The smallest probability the same rule keeps, found without sorting the whole row: probabilities of at most
// (1 - top_p)/V cannot sum to more than 1 - top_p, so all of them go, and in practice few are left to sort. Unset when
// rounding or a tie could decide.
std::optional<float> smallest_kept(const float* probabilities, int64_t count, double top_p) {
  constexpr double kDoubt = 1e-5;  // well above the rounding of a float32 softmax over 10^4 … 10^5 ids
  const double bound = 1.0 - top_p, floor = bound / static_cast<double>(count);
  double sum = 0;
  std::vector<float> candidates;
  for (int64_t i = 0; i < count; ++i) {
    if (probabilities[i] > floor) {
      candidates.push_back(probabilities[i]);
    } else {
      sum += probabilities[i];
    }
  }
  std::sort(candidates.begin(), candidates.end());
  float previous = 0;
  for (float p : candidates) {
    const double before = sum;
    sum += p;
    if (sum > bound - kDoubt) {
      const bool certain = before < bound - kDoubt && sum > bound + kDoubt && p > previous;
      return certain ? std::optional<float>(p) : std::nullopt;
    }
    previous = p;
  }
  return std::nullopt;
}

// Writes -inf over the scores that top-p removes. scores (B, V) -> (B, V).
at::Tensor keep_top_p(const at::Tensor& scores, double top_p) {
  if (!scores.is_cpu()) return scores.masked_fill(removed_by_sorting(scores, top_p), kRemoved);
  at::Tensor probabilities = at::softmax(scores, 1).contiguous();  // (B, V)
  const int64_t rows = scores.size(0), count = scores.size(1);
  std::vector<float> bounds;
  for (int64_t row = 0; row < rows; ++row) {
    const auto bound = smallest_kept(probabilities.const_data_ptr<float>() + row * count, count, top_p);
    if (!bound) return scores.masked_fill(removed_by_sorting(scores, top_p), kRemoved);
    bounds.push_back(*bound);
  }
  return scores.masked_fill(probabilities.lt(at::tensor(bounds).unsqueeze(1)), kRemoved);
}

at::Tensor to_host(const at::Tensor& logits) { return logits.detach().to(at::kCPU, at::kFloat); }

[[noreturn]] void fail_not_a_number() {
  fail(ErrorKind::internal,
       "the model's logits are not numbers: broken weights, or a type too narrow for them (float16?)");
}

}  // namespace

void validate(const SamplerOptions& options) {
  if (!(options.temperature >= 0 && std::isfinite(options.temperature))) {
    fail(ErrorKind::usage, "temperature should be a number from 0 on, not ", options.temperature);
  }
  if (!(options.top_p >= 0 && options.top_p <= 1)) {
    fail(ErrorKind::usage, "top_p should lie between 0 and 1, not ", options.top_p);
  }
  if (options.top_k < 0) fail(ErrorKind::usage, "top_k should be 0 (off) or more, not ", options.top_k);
}

at::Tensor sampling_probabilities(const at::Tensor& logits, const SamplerOptions& options) {
  at::Tensor scores = options.temperature == 1.0 ? logits : logits.div(options.temperature);  // (B, V)
  if (options.top_k > 0 && options.top_k < scores.size(1)) scores = keep_top_k(scores, options.top_k);
  if (options.top_p < 1.0) scores = keep_top_p(scores, options.top_p);
  return at::softmax(scores, 1);
}

at::Tensor sample(const at::Tensor& logits, const SamplerOptions& options, int64_t legal, at::Generator& generator) {
  if (options.temperature == 0) {
    at::Tensor allowed = to_host(logits).narrow(1, 0, legal);  // (B, legal)
    if (allowed.isnan().any().item<bool>()) fail_not_a_number();
    return at::argmax(allowed, 1);
  }
  // The noise does not depend on the logits: it is drawn before they are asked for, while a device still computes them.
  at::Tensor noise = at::empty({logits.size(0), logits.size(1)}, at::kFloat).exponential_(1.0, generator);  // (B, V)
  at::Tensor scores = to_host(logits);                                                                      // (B, V)
  at::Tensor probabilities = sampling_probabilities(scores, options);                                       // (B, V)
  at::Tensor race = probabilities.narrow(1, 0, legal).div(noise.narrow(1, 0, legal));  // (B, legal)
  at::Tensor ids = at::argmax(race, 1);                                                // (B)
  at::Tensor best = race.gather(1, ids.unsqueeze(1)).squeeze(1);                       // (B)
  if (best.isnan().any().item<bool>()) fail_not_a_number();
  at::Tensor nothing_legal = best.eq(0);  // (B) bool
  if (!nothing_legal.any().item<bool>()) return ids;
  return at::where(nothing_legal, at::argmax(scores.narrow(1, 0, legal), 1), ids);
}

at::Tensor draw_noise(int64_t count, int64_t V, const SamplerOptions& options, at::Generator& generator) {
  if (options.temperature == 0) return at::empty({count, 0}, at::kFloat);
  at::Tensor noise = at::empty({count, V}, at::kFloat);  // (count, V)
  // Row by row: one call for all of them would draw other numbers.
  for (int64_t row = 0; row < count; ++row) noise.narrow(0, row, 1).exponential_(1.0, generator);
  return noise;
}

at::Tensor sample_in_place(const at::Tensor& logits, const at::Tensor& noise, const SamplerOptions& options,
                           int64_t legal) {
  const at::Tensor scores = logits.detach().to(at::kFloat);                 // (1, V)
  const at::Tensor likeliest = at::argmax(scores.narrow(1, 0, legal), 1);   // (1)
  at::Tensor ids = likeliest, best = scores.narrow(1, 0, legal).amax({1});  // (1) each
  if (options.temperature != 0) {
    const at::Tensor probabilities = sampling_probabilities(scores, options);                  // (1, V)
    const at::Tensor race = probabilities.narrow(1, 0, legal).div(noise.narrow(1, 0, legal));  // (1, legal)
    best = race.amax({1});
    ids = at::where(best.eq(0), likeliest, at::argmax(race, 1));
  }
  return ids.masked_fill(best.isnan(), -1);
}

void check_drawn(const at::Tensor& ids) {
  if (ids.lt(0).any().item<bool>()) fail_not_a_number();
}

}  // namespace glmimage
