#include "train/data/mix_schedule.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "train/random.h"

namespace glmimage::train {

MixSchedule::MixSchedule(const std::vector<double>& weights, uint64_t seed) : seed_(seed) {
  double sum = 0;
  for (double weight : weights) {
    if (!(weight > 0) || !std::isfinite(weight)) fail(ErrorKind::internal, "a weight of ", weight);
    sum += weight;
  }
  if (weights.empty()) fail(ErrorKind::internal, "a mix of no sources");
  double before = 0;
  for (double weight : weights) limits_.push_back(before += weight / sum);
  limits_.back() = 1;
  counts_.emplace_back(weights.size(), 0);
}

int64_t MixSchedule::draw(int64_t step) const {
  const uint64_t bits = derive_seed(seed_, Stream::mix, static_cast<uint64_t>(step));
  const double share = static_cast<double>(bits >> 11) * 0x1p-53;  // 0 <= share < 1
  return std::upper_bound(limits_.begin(), limits_.end(), share) - limits_.begin();
}

std::vector<int64_t> MixSchedule::counts_before(size_t block) const {
  std::lock_guard lock(mutex_);
  while (counts_.size() <= block) {
    std::vector<int64_t> next = counts_.back();
    const int64_t first = static_cast<int64_t>(counts_.size() - 1) * kBlock;
    for (int64_t step = first; step < first + kBlock; ++step) ++next[static_cast<size_t>(draw(step))];
    counts_.push_back(std::move(next));
  }
  return counts_[block];
}

MixSchedule::Turn MixSchedule::at(int64_t step) const {
  const int64_t block = step / kBlock, source = draw(step);
  int64_t index = counts_before(static_cast<size_t>(block))[static_cast<size_t>(source)];
  for (int64_t earlier = block * kBlock; earlier < step; ++earlier) index += draw(earlier) == source;
  return {source, index};
}

}  // namespace glmimage::train
