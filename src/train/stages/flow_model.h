#pragma once

#include <memory>

#include "core/parameters.h"
#include "train/losses/flow_loss.h"
#include "train/presets.h"
#include "train/stage_options.h"

namespace glmimage::train {

// The transformer and the glyph encoder before the first step, and what is to be trained of them.
struct StartedFlowModel {
  FlowModel model;
  ParameterList trained;  // points into the model
};

// From random numbers, or the weights of --init; with an adapter where config.lora asks for one. Throws
// ErrorKind::usage for settings of the stage that contradict each other, ErrorKind::checkpoint.
std::unique_ptr<StartedFlowModel> start_flow_model(const StageOptions& options, const Preset& preset);

// What is trained of a model that was started so, but for heads that are no part of it. Points into `model`.
ParameterList trained_parameters(FlowModel& model, const TrainConfig& config);

// To out/final: both models in the published layout, or the adapter.
void export_flow_model(const StageOptions& options, FlowModel& model);

}  // namespace glmimage::train
