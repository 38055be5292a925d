#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "train/config/train_config.h"
#include "train/data/encoded_data.h"
#include "train/losses/glyph_places.h"

namespace glmimage::train {

// What stage dit trains together.
struct FlowModel {
  void list(ParameterList& list) {
    dit.list(list);
    glyph.list(list);
  }

  DitModel dit;
  GlyphEncoder glyph;
  GlyphPlaceHeads glyph_places = {};  // not in list(): it is no part of the model
};

// Flow matching (Lipman et al. 2023; rectified flow, Liu et al. 2023): x = (1 − σ)·x0 + σ·ε, target ε − x0. σ is drawn
// with settings.density and shifted by the size of the picture as in drawing. Prior, glyphs and references are dropped
// together for a share of the pictures, which is what guidance compares with. References pass once, without noise and
// at time 0, and leave keys and values that the target reads; they never see the target. Gradients flow through both.
// With settings.glyph_place, that much of glyph_place_loss is added.
// `noise`, a generator of the CPU, draws times, ε and drops. The batch is on the model's device. -> scalar float32
at::Tensor flow_loss(const FlowModel& model, const EncodedBatch& batch, const DitSettings& settings,
                     at::Generator noise, Activations activations = Activations::keep);

// How noisy each of `count` pictures of `image_tokens` (16 x 16 pixels each) is.
struct NoiseLevels {
  at::Tensor times;   // (B) float32, 0..1: what the transformer is told, times 1000 less 1
  at::Tensor sigmas;  // (B) float32, 0..1: the share of noise
};
NoiseLevels draw_noise_levels(Density density, int64_t count, int64_t image_tokens, at::Generator noise);

// Glyphs of a batch: the quoted strings of each caption, encoded one by one as in drawing, one behind the other.
struct GlyphBatch {
  at::Tensor glyphs;  // (B, G, width), padded on the right
  at::Tensor mask;    // (B, G) bool, true at real ones
  at::Tensor places;  // (B, G, 2) int64, places in their strings (glyph_places); -1 at padding
};
GlyphBatch encode_glyph_batch(const GlyphEncoder& encoder, const std::vector<std::string>& captions);

}  // namespace glmimage::train
