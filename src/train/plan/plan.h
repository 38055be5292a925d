#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/config/distributed_settings.h"
#include "train/config/train_config.h"
#include "train/plan/devices.h"
#include "train/plan/stage_cost.h"
#include "train/presets.h"

namespace glmimage::train {

// A training that is not begun yet.
struct PlanOptions {
  std::string stage = "dit";
  Preset preset;
  SampleShape sample;
  DeviceFigures device;
  int64_t devices = 1;
  Sharding sharding = Sharding::none;
  int64_t sequence_parallel = 1;  // devices that share a sample (Ulysses)
  bool recompute = false;
  Precision precision = Precision::bfloat16;
  int64_t micro_batch = 1;     // samples a group of sequence_parallel devices holds at a time
  int64_t global_batch = 0;    // samples of an update; 0: micro_batch for each group
  bool average = true;         // ema_decay is not 0
  double utilisation = 0.4;    // of the device's peak, over all that is computed
  double network_share = 0.8;  // of the links' bandwidth that collectives reach
  double memory_share = 0.9;   // of the device's memory; the rest is the library's, and lost between blocks
};

// Bytes of one device.
struct PlannedMemory {
  int64_t weights = 0, gradients = 0, moments = 0, average = 0;  // float32
  int64_t copies = 0;    // of matrices in bfloat16, and of layers that are gathered
  int64_t exchange = 0;  // gradients on their way
  int64_t activations = 0;
  int64_t limit = 0;  // what the device offers
  int64_t total() const { return weights + gradients + moments + average + copies + exchange + activations; }
  bool fits() const { return total() <= limit; }
};

// Seconds of one update.
struct PlannedTime {
  double compute = 0;    // products, convolutions, attention
  double network = 0;    // all that is sent
  double exposed = 0;    // of it, what computing does not hide
  double optimiser = 0;  // reading and writing weights, gradients, moments and average
  double step() const { return compute + exposed + optimiser; }
};

struct Plan {
  StageCost cost;
  int64_t global_batch = 0, passes = 0;  // of an update; passes on each device
  PlannedMemory memory;
  int64_t sent_bytes = 0;  // by one device, in one update
  PlannedTime time;
  double samples_per_second = 0, tokens_per_second = 0;
  double mfu = 0;  // what the model asks for, over what the devices could do in a step
};

// By the formulas of docs/scaling.md. Says memory and time whether it fits or not. Throws ErrorKind::usage for numbers
// that are out of range or do not divide each other.
Plan make_plan(const PlanOptions& options);

// Changes with which a plan fits that does not, the smallest first, as flags of `glm-image plan`: "--sharding zero2
// (51.2 GiB)". At most `most`.
std::vector<std::string> what_would_fit(const PlanOptions& options, size_t most = 4);

const char* sharding_name(Sharding sharding);
// "none", "zero1", "zero2", "zero3". Throws ErrorKind::usage for any other text.
Sharding parse_sharding(const std::string& text);

}  // namespace glmimage::train
