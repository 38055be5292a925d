#pragma once

#include <cstdint>

#include "train/config/fields.h"

namespace glmimage::train {

// What each of several processes keeps of the training (ZeRO, Rajbhandari et al. 2020).
enum class Sharding {
  none,   // everything; gradients are summed
  zero1,  // its slice of the optimiser's state and of the average
  zero2,  // of the gradients too
  zero3,  // of the weights too, which are gathered layer by layer where they are needed
};

template <>
struct EnumNames<Sharding> {
  static const std::vector<std::pair<const char*, Sharding>> names;
};

// How processes train together. Without effect where there is one.
struct DistributedSettings {
  Sharding sharding = Sharding::none;
  int64_t sequence_parallel = 1;  // processes that share the tokens of a pass; stages dit and ar
  double bucket_mib = 25;         // gradients of about so much are sent together
  double timeout = 600;           // seconds until a process that does not answer ends the run
};

}  // namespace glmimage::train
