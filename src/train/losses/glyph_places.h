#pragma once

#include <ATen/core/Tensor.h>

#include "core/parameters.h"
#include "models/layers/layers.h"

namespace glmimage::train {

// Makes every glyph tell where in its string it stands. The glyph encoder knows distances only, and the transformer
// gives glyphs no places: what comes out of the encoder is all that tells the first letter from the last. The flow
// loss alone finds that out late, after it has long learned which letters there are: their order is a small part of a
// picture's error. These heads ask for it directly; they are dropped when the encoder is exported, like those that
// name objects for the visual tokenizer.
struct GlyphPlaceHeads {
  GlyphPlaceHeads() = default;
  explicit GlyphPlaceHeads(int64_t width);
  void list(ParameterList& list);  // names beginning with "glyph_places"

  Linear places;  // logits of the place from the start (16), from the end (16) and from the middle (31)
};

// The place of every glyph of a string of `length` ids, the end id included: (length, 2) int64, from the start and from
// the end, at most 15; -1 for the end id, which stands nowhere.
at::Tensor glyph_places(int64_t length);

// Mean cross entropy of the three. glyphs (B, G, width), places (B, G, 2) int64 on the same device, -1 where nothing is
// asked; a batch without a glyph that stands somewhere costs 0. -> scalar float32
at::Tensor glyph_place_loss(const GlyphPlaceHeads& heads, const at::Tensor& glyphs, const at::Tensor& places);

}  // namespace glmimage::train
