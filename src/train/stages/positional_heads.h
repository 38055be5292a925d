#pragma once

#include "models/dit/model.h"

namespace glmimage::train {

// Begins a diffusion transformer with heads that look at their neighbours: in every second block, starting with the
// first, head i of four looks one or two tokens up, down, left or right, by the biases of its queries and keys alone.
// The transformer knows places only through its rotary embedding, and with random projections every head sees the
// average of the whole picture; finding out about neighbours takes it tens of thousands of steps (docs/training.md).
// Same idea as d'Ascoli et al. 2021 (ConViT) and Trockman and Kolter 2023 (mimetic initialisation). The other blocks
// stay free for the whole picture and for glyphs. Call after init_parameters.
void look_at_neighbours(DitModel& model);

}  // namespace glmimage::train
