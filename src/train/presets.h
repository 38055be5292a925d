#pragma once

#include <cstdint>
#include <string>

#include "models/ar/config.h"
#include "models/dit/config.h"
#include "models/glyph/config.h"
#include "models/vae/config.h"
#include "models/visual_tokenizer/config.h"

namespace glmimage::train {

// The sizes of all parts, and of the pictures they learn from.
struct Preset {
  std::string name;
  int64_t picture_size = 128;  // pixels a side
  int64_t draft_size = 2;      // tokens a side of the draft grid of a square picture (published: 16)
  // Pictures that "synthetic" stands for in stage dit, which keeps their latents; ar, whose entries are small, takes
  // four times as many, vae and tokenizer, which keep nothing, eight times.
  int64_t synthetic_pictures = 12288;
  int64_t bpe_merges = 512;
  VaeConfig vae;
  VisionConfig vision;
  VqConfig vq;
  PreprocessConfig preprocess;
  DitConfig dit;
  GlyphConfig glyph;
  ArConfig ar;  // the text ids are set once the tokenizer is trained, and vocab_size where it is smaller
};

// "tiny" (a step takes milliseconds, for tests), "mini" (the model in checkpoints/mini) or "published" (GLM-Image's own
// sizes). Throws ErrorKind::usage.
Preset find_preset(const std::string& name);

}  // namespace glmimage::train
