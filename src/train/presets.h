#pragma once

#include <cstdint>
#include <string>

#include "models/ar/config.h"
#include "models/dit/config.h"
#include "models/glyph/config.h"
#include "models/vae/config.h"
#include "models/visual_tokenizer/config.h"
#include "train/world/world.h"

namespace glmimage::train {

// The sizes of all parts, and of the pictures they learn from.
struct Preset {
  std::string name;
  int64_t picture_size = 128;                              // pixels a side
  world::Languages languages = world::Languages::english;  // of the pictures' texts and captions
  int64_t draft_size = 2;  // tokens a side of the draft grid of a square picture (published: 16)
  int64_t corpus_size =
      20480;  // pictures encoded once for stage dit; stage ar, whose entries are small, takes four times as many
  int64_t bpe_merges = 512;
  VaeConfig vae;
  VisionConfig vision;
  VqConfig vq;
  PreprocessConfig preprocess;
  DitConfig dit;
  GlyphConfig glyph;
  ArConfig ar;  // vocab_size and the text ids are set once the tokenizer is trained
};

// "tiny" (a step takes milliseconds, for tests) or "mini" (the model in checkpoints/mini). Throws ErrorKind::usage.
Preset find_preset(const std::string& name);

}  // namespace glmimage::train
