#pragma once

#include <span>

#include "pipeline/pipeline.h"

namespace glmimage::serve {

using DrawTask = GenerateTask;

// Draws pictures that were claimed together (Pipeline::generate for several). What of them can be computed as one batch
// is this class's business.
class Painter {
 public:
  virtual ~Painter() = default;
  virtual void draw(std::span<DrawTask> tasks) = 0;
};

// With one pipeline, which outlives it.
class PipelinePainter : public Painter {
 public:
  explicit PipelinePainter(const Pipeline& pipeline) : pipeline_(pipeline) {}
  void draw(std::span<DrawTask> tasks) override { pipeline_.generate(tasks); }

 private:
  const Pipeline& pipeline_;
};

}  // namespace glmimage::serve
