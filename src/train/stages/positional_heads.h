#pragma once

#include <ATen/core/Generator.h>

#include "models/dit/model.h"
#include "models/glyph/encoder.h"

namespace glmimage::train {

// Begins a diffusion transformer with heads that look at their neighbours: in every second block, starting with the
// first, head i of four looks one or two tokens up, down, left or right, by the biases of its queries and keys alone.
// The transformer knows places only through its rotary embedding, and with random projections every head sees the
// average of the whole picture; finding out about neighbours takes it tens of thousands of steps (docs/training.md).
// Same idea as d'Ascoli et al. 2021 (ConViT) and Trockman and Kolter 2023 (mimetic initialisation). The other blocks
// stay free for the whole picture and for glyphs. Call after init_parameters.
void look_at_neighbours(DitModel& model);

// Begins the way from a quoted word to its letters' places. In the blocks that look_at_neighbours leaves free, half of
// the heads ask by the column of the picture they stand in: glyphs have no rotary embedding, so a glyph whose key
// learns the angle of a column is read there and nowhere else. And the glyph encoder's relative biases are spread as
// widely as trained ones are: near zero every letter sees the mean of the word, and AdamW moves a bias by no more than
// the learning rate a step, thousands of steps to a spread of 2. Call after init_parameters.
void read_in_columns(DitModel& model, GlyphEncoder& glyph);

// Begins the attention of a trained glyph encoder anew: queries, keys and biases of distances; letters, values and all
// else stay. An encoder that learned letters without places (losses/glyph_places.h) scores by letters so strongly that
// distances have no say left, and it hardly finds back: asked for places, the small model's still had a cross entropy
// of 1.3 after 800 updates, begun anew below 0.1 after 220. Its output changes by a third.
void begin_attention_anew(GlyphEncoder& glyph, at::Generator generator);

}  // namespace glmimage::train
