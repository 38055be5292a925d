#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "pipeline/memory_plan.h"
#include "pipeline/models.h"

namespace glmimage {

// What a request's memory depends on.
struct RequestShape {
  int64_t height = 0, width = 0;      // pixels, as drawn
  std::vector<PixelSize> references;  // as encoded (references.h)
  int64_t text_tokens = 64;           // of the prompt, for the language model
  int64_t glyph_tokens = 16;          // of its quoted strings, the longest and all of them
  bool guided = true;                 // guidance_scale > 1
  int64_t together = 1;               // such requests whose visual tokens are written as one batch
};

// How a device computes, as far as memory goes.
struct Arithmetic {
  bool fused_attention = true;  // scores are never all in memory
  bool one_pass = true;         // kernels with a twin (docs/add_a_kernel.md) make nothing on the way
  bool host = true;             // a processor: its attention of bfloat16 packs keys and values
  static Arithmetic of(at::Device device, at::ScalarType dtype);
};

// The stages of a request with what each holds besides weights, at its highest. `sketch`: the models, of which only
// configurations and types are read.
std::vector<StageNeed> stage_needs(const Models& sketch, const RequestShape& request, const Arithmetic& arithmetic);

}  // namespace glmimage
