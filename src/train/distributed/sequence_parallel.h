#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/layers/sequence_parallel.h"
#include "train/distributed/process_group.h"

namespace glmimage::train {

// Sequence parallelism over a process group, by its all_to_all and all_gather. Must outlive the backward passes of what
// it turned.
class SequenceGroup : public SequenceParallel {
 public:
  explicit SequenceGroup(std::shared_ptr<ProcessGroup> group) : group_(std::move(group)) {}
  int64_t size() const override { return group_->size(); }
  int64_t rank() const override { return group_->rank(); }
  at::Tensor to_heads(const at::Tensor& x) const override;
  at::Tensor to_tokens(const at::Tensor& x) const override;
  at::Tensor gather_tokens(const at::Tensor& x) const override;

  // The same without history: the exchanges themselves.
  at::Tensor turn_to_heads(const at::Tensor& x) const;
  at::Tensor turn_to_tokens(const at::Tensor& x) const;
  at::Tensor gather(const at::Tensor& x) const;

 private:
  at::Tensor exchange(const at::Tensor& parts) const;
  std::shared_ptr<ProcessGroup> group_;
};

// A model's attention, as far as dividing it goes.
struct AttentionHeads {
  int64_t query = 0, key_value = 0;
  std::string model;  // for messages
};

// `parts` neighbours of `group` share sequences; null for 1. All processes together. Throws ErrorKind::usage, naming
// the setting distributed.sequence_parallel, for a process that trains alone, parts that do not divide the processes or
// the query heads, and parts that neither divide the KV heads nor are a multiple of them.
std::unique_ptr<SequenceGroup> share_sequences(const std::shared_ptr<ProcessGroup>& group, int64_t parts,
                                               const AttentionHeads& heads);

}  // namespace glmimage::train
