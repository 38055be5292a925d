#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "core/json.h"

namespace glmimage {

// scheduler/scheduler_config.json: flow matching, Euler steps, sigmas shifted by the picture's size.
struct SchedulerConfig {
  int64_t train_timesteps = 1000;
  int64_t base_image_tokens = 256;  // base_image_seq_len
  double base_shift = 0.25;         // added
  double max_shift = 0.75;          // multiplies the root of the size

  // Throws ErrorKind::checkpoint naming any scheduler or flag this program does not implement.
  static SchedulerConfig from_json(const JsonObject& json);
  nlohmann::json to_json() const;  // the published file
};

// The noise levels of a run and the labels the transformer is told: two separate lists, as the labels stay unshifted.
struct Schedule {
  at::Tensor sigmas;     // (n + 1) float32 on the CPU, 1 = noise, falling to 0 = picture
  at::Tensor timesteps;  // (n) float32 on the CPU, whole numbers; the transformer's input is one less

  int64_t steps() const { return timesteps.size(0); }
};

// mu of the shift sigma' = mu·sigma/(mu·sigma + 1 - sigma), for a picture of image_tokens (16 x 16 pixels each).
double resolution_shift(const SchedulerConfig& config, int64_t image_tokens);

// steps in 1..train_timesteps, else ErrorKind::usage: beyond, labels would repeat. Equal bit for bit to diffusers
// 0.39.0 (GlmImagePipeline with FlowMatchEulerDiscreteScheduler).
Schedule make_schedule(const SchedulerConfig& config, int64_t steps, int64_t image_tokens);

}  // namespace glmimage
