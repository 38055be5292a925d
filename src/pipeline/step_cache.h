#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "models/dit/block_cache.h"
#include "pipeline/cache_policy.h"

namespace glmimage {

// The two passes of a denoising step. Each has a memory of its own.
enum class Branch { conditional, unconditional };

// Passes through the transformer: all of them, and those in which blocks were left out.
struct PassCount {
  int64_t passes = 0, reused = 0;
};

// One request's memory of its denoising steps. The first and the last step are always computed in full.
//   first_block: the first block runs. When what it adds differs from what it added in the last full step by less than
//     the threshold (mean |difference| / mean |then|, the largest of the batch), the other blocks are taken to add what
//     they added then. Source: ParaAttention; diffusers 0.39.0, FirstBlockCache.
//   taylor: no block runs. What all of them add is continued along the straight line through the last two full steps,
//     by number of the step. Source: TaylorSeer (Liu et al. 2025) of order 1, of the whole stack.
// What blocks add is kept in the model's type: two tensors (B, N, D) a branch.
class StepCache {
 public:
  // For a run of `steps` steps under a policy that is valid.
  StepCache(const CachePolicy& policy, int64_t steps);
  ~StepCache();

  // What DitModel::step is given in a branch's pass of step 0 <= i < steps; i ascends. nullptr: every block runs.
  BlockCache* pass(int64_t step, Branch branch);
  PassCount count() const;

 private:
  class Memory;
  class FirstBlock;
  class Taylor;
  std::array<std::unique_ptr<Memory>, 2> branches_;  // null without a method
  int64_t passes_ = 0;
};

}  // namespace glmimage
