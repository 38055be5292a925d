#pragma once

#include "core/parameters.h"
#include "train/stages/flow_model.h"

namespace glmimage::train::rl {

// A copy of `model` as it is now, on the run's device, that training does not move: what is trained is copied, the
// rest shared. Of an adapter that is its matrices alone. The copies record gradients though nobody asks for them: with
// and without, the same operators may be computed by kernels that round differently, and copies are compared with what
// learns to the bit.
FlowModel frozen_copy(const FlowModel& model, const StageOptions& options);

// What is trained of a copy, its names behind `prefix`, for RunParts::buffers. Points into `copy`.
ParameterList named_copy(FlowModel& copy, const TrainConfig& config, const std::string& prefix);

// copy = keep · copy + (1 - keep) · model, tensor by tensor.
void follow(const ParameterList& copy, const ParameterList& model, double keep);

}  // namespace glmimage::train::rl
