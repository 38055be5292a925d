#pragma once

#include <cstdint>

#include "core/error.h"

namespace glmimage {

// The parts of a request, in the order they run.
enum class Stage { load, references, visual_tokens, glyphs, denoise, decode };

// How a caller follows a request and stops it. Both functions are called from the thread that runs the request.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void report(Stage stage, int64_t done, int64_t total) = 0;
  virtual bool cancelled() const = 0;
};

// Reports one step; throws ErrorKind::cancelled when the caller asked to stop. A null progress listens to nothing.
inline void step(Progress* progress, Stage stage, int64_t done, int64_t total) {
  if (!progress) return;
  if (progress->cancelled()) fail(ErrorKind::cancelled, "the request was cancelled");
  progress->report(stage, done, total);
}

}  // namespace glmimage
