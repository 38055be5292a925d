#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "pipeline/cache_policy.h"

namespace glmimage {

// One picture to draw. Text to picture is editing with no references.
struct GenerateRequest {
  std::string prompt;
  std::vector<Image> references;         // pictures to edit or to draw from, in prompt order
  std::optional<int64_t> width, height;  // pixels; unset: the model's own size (see Pipeline::default_size)
  int64_t steps = 50;                    // denoising steps, 1 to 1000
  double guidance_scale = 1.5;           // <= 1: no guidance, half the work
  uint64_t seed = 0;
  std::optional<double> temperature;  // unset: the checkpoint's generation_config.json; 0: greedy
  std::optional<double> top_p;
  CachePolicy cache;  // of denoising steps; saves time, changes the picture
};

// The size a request is drawn at: both sides rounded up to multiples of 32, the result is centre-cropped back.
struct DrawSize {
  int64_t width = 0, height = 0;              // as asked for
  int64_t drawn_width = 0, drawn_height = 0;  // multiples of 32
};

constexpr int64_t kMaxSide = 8192;
constexpr int64_t kMaxPixels = int64_t{1} << 25;
constexpr size_t kMaxReferences = 16;
constexpr size_t kMaxPromptBytes = size_t{1} << 20;

// Checks everything that can be checked without a model. Throws ErrorKind::usage with one sentence. An empty prompt is
// refused unless there is a reference picture.
void validate(const GenerateRequest& request);

// Resolves the size; `fallback` is used for a side that is not given. Throws ErrorKind::usage for sizes out of range.
DrawSize resolve_size(const GenerateRequest& request, int64_t fallback_width, int64_t fallback_height);

}  // namespace glmimage
