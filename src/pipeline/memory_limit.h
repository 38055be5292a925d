#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/visual_tokenizer/preprocess.h"

namespace glmimage {

// How much memory of the device (on a CPU: memory of its own) a pipeline may take.
struct MemoryLimit {
  enum class Kind {
    automatic,  // everything stays where it fits, else as much as does
    low,        // a part is there while its stage runs, layer by layer where it does not fit
    budget,     // so many bytes
  } kind = Kind::automatic;
  int64_t bytes = 0;  // of Kind::budget
};

// What of a request decides about its memory.
struct RequestOutline {
  std::optional<int64_t> width, height;  // pixels; unset: the model's own size
  std::vector<PixelSize> references;     // pictures as given
  int64_t prompt_bytes = 256;
  double guidance_scale = 1.5;
  int64_t batch = 1;  // requests given to Pipeline::generate together
};

// What a pipeline plans to take at its highest.
struct MemoryUse {
  bool resident = true;  // all weights stay
  int64_t together = 1;  // of RequestOutline::batch, those whose visual tokens are written at once
  int64_t peak_bytes = 0;
};

}  // namespace glmimage
