#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/parameters.h"
#include "models/layers/layers.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "train/config/train_config.h"
#include "train/data/cell_labels.h"

namespace glmimage::train {

struct TokenizerBatch {
  at::Tensor patches;     // (B, n, 3·p·p)
  at::Tensor labels;      // (B, n) int64: what each cell shows, or kNothing in pictures nobody labelled
  at::Tensor parts;       // (B, n) int64: where in its object each cell lies (part_of), or kNothing
  at::Tensor background;  // (B, n) int64: the background's colour in cells that show nothing else, or kNothing
  at::Tensor unlabelled;  // (B) float32: 1 for pictures nobody labelled, 0 for the others
  Grid grid;
};

// What the codes must tell, each learned from a code and dropped at export: the object of the cell, the part of it and
// the colour of bare background from the code alone; with all codes of the picture in view, the object and the coarse
// look of the cell. The colour behind an object is not asked of the object's own codes: all pairs of the two are more
// than there are codes, and the cells around tell it. Of pictures nobody labelled, all codes must tell the pixels.
struct TokenizerHeads {
  // classes and backgrounds: how many objects and background colours there are to be named.
  TokenizerHeads(const VisionConfig& vision, const VqConfig& vq, int64_t classes, int64_t backgrounds);
  void list(ParameterList& list);  // "heads.…"

  int64_t width;
  Linear name_alone, part_alone, background_alone;
  Embedding position;
  VisionBlock block;
  Linear name, look, pixels;
};

struct TokenizerLosses {
  at::Tensor total;                                                 // scalar, carries the gradient
  double name_alone = 0, name = 0, part_alone = 0, background = 0;  // accuracies
  double look = 0, pixels = 0, commit = 0;                          // losses
  at::Tensor ids;                                                   // (B, n)
  at::Tensor z;                                                     // (B·n, code_dim), detached
};

struct TokenizerLossOptions {
  TokenizerSettings weights = {};
  bool soft = false;  // codes are not yet used
  Activations activations = Activations::keep;
};

// Names weigh above looks: the ids are all the later stages know of a picture (docs/training.md). Pictures without
// labels add to the coarse look, the pixels and the terms of the codes alone. VQ terms as in van den Oord et al. 2017,
// the codebook's gradient straight through.
TokenizerLosses tokenizer_losses(const VisualTokenizer& model, const TokenizerHeads& heads, const TokenizerBatch& batch,
                                 const TokenizerLossOptions& options = {});

}  // namespace glmimage::train
