#include "train/data/batch_order.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "train/data/permutation.h"
#include "train/random.h"

namespace glmimage::train {
namespace {

constexpr uint64_t kBatchShuffle = ~uint64_t{0};  // beside the groups' own numbers

uint64_t shuffle_key(uint64_t seed, int64_t epoch, uint64_t what) {
  return derive_seed(derive_seed(seed, Stream::order, static_cast<uint64_t>(epoch)), Stream::order, what);
}

}  // namespace

BatchOrder::BatchOrder(std::vector<int64_t> group_sizes, int64_t batch, LastBatch last_batch, uint64_t seed)
    : sizes_(std::move(group_sizes)), batch_(batch), last_batch_(last_batch), seed_(seed) {
  if (batch_ < 1) fail(ErrorKind::usage, "a batch has at least one picture, not ", batch_);
  int64_t all = 0;
  for (int64_t size : sizes_) all += size;
  if (all == 0) fail(ErrorKind::usage, "there are no pictures to make batches of");
  if (last_batch_ == LastBatch::drop && batches_before(1) == 0) {
    fail(ErrorKind::usage, "no bucket has the ", batch_, " pictures of a batch (", all, " pictures in ", sizes_.size(),
         " buckets) and 'last_batch' is 'drop': take 'carry' or 'pad', or a smaller batch");
  }
}

int64_t BatchOrder::batches_before(int64_t epoch, size_t group) const {
  const int64_t size = sizes_[group];
  switch (last_batch_) {
    case LastBatch::drop: return epoch * (size / batch_);
    case LastBatch::pad: return epoch * ((size + batch_ - 1) / batch_);
    case LastBatch::carry: return epoch * size / batch_;
  }
  return 0;
}

int64_t BatchOrder::batches_before(int64_t epoch) const {
  int64_t sum = 0;
  for (size_t group = 0; group < sizes_.size(); ++group) sum += batches_before(epoch, group);
  return sum;
}

int64_t BatchOrder::epoch_of(int64_t index) const {
  int64_t high = 1;
  while (batches_before(high) <= index) high *= 2;
  int64_t low = high / 2;  // batches_before(low) <= index < batches_before(high), or low is 0
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (batches_before(middle) <= index ? low : high) = middle;
  }
  return low;
}

int64_t BatchOrder::entry(size_t group, int64_t epoch, int64_t place) const {
  return Permutation(sizes_[group], shuffle_key(seed_, epoch, group))(place);
}

BatchRows BatchOrder::rows(int64_t epoch, size_t group, int64_t batch) const {
  BatchRows out{epoch, static_cast<int64_t>(group), {}, batch_};
  const int64_t size = sizes_[group];
  for (int64_t row = 0; row < batch_; ++row) {
    if (last_batch_ == LastBatch::carry) {  // the group's epochs are one long stream
      const int64_t place = batch * batch_ + row;
      out.entries.push_back(entry(group, place / size, place % size));
    } else {
      const int64_t place = (batch - batches_before(epoch, group)) * batch_ + row;
      out.entries.push_back(entry(group, epoch, place % size));
      if (place == size) out.real = row;
    }
  }
  return out;
}

BatchRows BatchOrder::at(int64_t index) const {
  const int64_t epoch = epoch_of(index), first = batches_before(epoch);
  const int64_t count = batches_before(epoch + 1) - first;
  int64_t place = Permutation(count, shuffle_key(seed_, epoch, kBatchShuffle))(index - first);
  for (size_t group = 0;; ++group) {
    const int64_t before = batches_before(epoch, group), here = batches_before(epoch + 1, group) - before;
    if (place < here) return rows(epoch, group, before + place);
    place -= here;
  }
}

int64_t BatchOrder::dropped() const {
  int64_t sum = 0;
  if (last_batch_ == LastBatch::drop) {
    for (int64_t size : sizes_) sum += size % batch_;
  }
  return sum;
}

}  // namespace glmimage::train
