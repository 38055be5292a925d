#pragma once

#include <cstdint>
#include <vector>

#include "train/data/data_config.h"

namespace glmimage::train {

// The rows of one batch: entries of one group (pictures that share a bucket).
struct BatchRows {
  int64_t epoch = 0;
  int64_t group = 0;
  std::vector<int64_t> entries;  // (batch), below the group's size
  int64_t real = 0;              // the first so many; behind them pictures that were seen already (LastBatch::pad)
};

// Which entries make batch n, for any n and without a walk to it: resuming needs the number of the step and nothing
// else. Every epoch shuffles each group, cuts it into batches and shuffles these. With LastBatch::carry and pad each
// epoch hands out every entry exactly once (carry: an entry that did not fill a batch comes first in the group's next
// epoch); with drop at most once.
class BatchOrder {
 public:
  // Throws ErrorKind::usage when LastBatch::drop leaves no batch at all.
  BatchOrder(std::vector<int64_t> group_sizes, int64_t batch, LastBatch last_batch, uint64_t seed);

  BatchRows at(int64_t index) const;
  int64_t batches_before(int64_t epoch) const;  // so many batches precede that epoch
  int64_t batch_size() const { return batch_; }
  int64_t dropped() const;  // entries an epoch leaves out

 private:
  int64_t batches_before(int64_t epoch, size_t group) const;
  int64_t epoch_of(int64_t index) const;
  int64_t entry(size_t group, int64_t epoch, int64_t place) const;
  BatchRows rows(int64_t epoch, size_t group, int64_t batch) const;

  std::vector<int64_t> sizes_;
  int64_t batch_;
  LastBatch last_batch_;
  uint64_t seed_;
};

}  // namespace glmimage::train
