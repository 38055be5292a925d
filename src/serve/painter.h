#pragma once

#include <span>

#include "pipeline/pipeline.h"
#include "serve/job.h"

namespace glmimage::serve {

using DrawTask = GenerateTask;

// Draws pictures that were claimed together (Pipeline::generate for several), all with the same adapters. What of them
// can be computed as one batch is this class's business.
class Painter {
 public:
  virtual ~Painter() = default;
  virtual void draw(std::span<DrawTask> tasks, const JobLoras& loras) = 0;
};

}  // namespace glmimage::serve
