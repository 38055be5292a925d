#pragma once

#include <functional>
#include <span>

#include "core/error.h"
#include "pipeline/pipeline.h"

namespace glmimage::serve {

// One picture to draw, and whom to tell. Exactly one of `done` and `failed` is called, from draw()'s thread.
struct DrawTask {
  GenerateRequest request;
  RequestObserver observer;
  std::function<void(GenerateResult)> done;
  std::function<void(const Error&)> failed;  // ErrorKind::cancelled among others
};

// Draws pictures that were claimed together: what of them can be computed as one batch is this class's business.
class Painter {
 public:
  virtual ~Painter() = default;
  virtual void draw(std::span<DrawTask> tasks) = 0;
};

// With one pipeline, which outlives it.
class PipelinePainter : public Painter {
 public:
  explicit PipelinePainter(const Pipeline& pipeline) : pipeline_(pipeline) {}
  void draw(std::span<DrawTask> tasks) override;

 private:
  const Pipeline& pipeline_;
};

}  // namespace glmimage::serve
