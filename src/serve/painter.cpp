#include "serve/painter.h"

#include "core/current_error.h"

namespace glmimage::serve {

void PipelinePainter::draw(std::span<DrawTask> tasks) {
  for (DrawTask& task : tasks) {
    std::optional<GenerateResult> result;
    try {
      result = pipeline_.generate(task.request, task.observer);
    } catch (...) {
      task.failed(current_error());
      continue;
    }
    task.done(std::move(*result));
  }
}

}  // namespace glmimage::serve
