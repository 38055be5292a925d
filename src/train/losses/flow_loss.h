#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "train/data/corpus.h"

namespace glmimage::train {

// What stage dit trains together.
struct FlowModel {
  void list(ParameterList& list) {
    dit.list(list);
    glyph.list(list);
  }

  DitModel dit;
  GlyphEncoder glyph;
};

// Flow matching (Lipman et al. 2023; rectified flow, Liu et al. 2023): x = (1 − σ)·x0 + σ·ε, target ε − x0. Prior and
// glyphs are dropped together for a tenth of the pictures, which is what guidance compares with.
// `batch`: captions, prior_ids and latents of B square pictures of `side` pixels; `noise` draws times, ε and drops.
// -> scalar
at::Tensor flow_loss(const FlowModel& model, const CorpusBatch& batch, int64_t side, at::Generator noise,
                     Activations activations = Activations::keep);

}  // namespace glmimage::train
