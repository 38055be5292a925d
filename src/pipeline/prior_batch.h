#pragma once

#include <variant>
#include <vector>

#include "core/error.h"
#include "pipeline/prior.h"

namespace glmimage {

// One of several pictures whose ids are drawn together.
struct PriorTask {
  PriorRequest request;
  at::Generator generator;  // as of run_prior
  Progress* progress = nullptr;
};

// Most pictures whose ids are drawn as one batch: as many tokens as the processor's products take by reading the
// weights once (kernels/linear.h).
inline constexpr int64_t kLargestPriorBatch = 8;

// run_prior for several pictures, with the same ids as alone: on a processor they are fed to the model as one batch,
// which reads the weights once for all of them; each attends to its own cache, so lengths may differ, and one that is
// done leaves. That is done only where the batch's first step gives every picture the very bits it gets alone, as it
// does in bfloat16; else, and on devices, they are drawn one after the other. In the order of the tasks: a result, or
// the error of a task that was refused or cancelled, which the others do not notice.
std::vector<std::variant<PriorResult, Error>> run_priors(const ArModel& model, std::vector<PriorTask>& tasks);

}  // namespace glmimage
