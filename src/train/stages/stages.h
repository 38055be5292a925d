#pragma once

#include "train/stage_options.h"

namespace glmimage::train {

// Each stage trains one part of GLM-Image from random numbers (or from its newest saved state) on the synthetic world
// and writes the part in the published layout to out/final. One file a stage, each a loop that reads top to bottom.
//   vae        pictures <-> latents: final/vae
//   tokenizer  pictures -> visual tokens: final/ with the visual tower and the codebook
//   dit        visual tokens and glyphs -> latents: final/transformer, final/text_encoder; needs `vae` and `tokenizer`
//   ar         prompt -> visual tokens: final/vision_language_encoder with the tokenizer's weights in it, and
//              final/processor; needs `tokenizer`
void train_vae(const StageOptions& options);
void train_tokenizer(const StageOptions& options);
void train_dit(const StageOptions& options);
void train_ar(const StageOptions& options);

}  // namespace glmimage::train
