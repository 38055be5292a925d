#pragma once

#include "train/stage_options.h"

namespace glmimage::train {

// Each stage trains one part of GLM-Image, from random numbers, from a checkpoint or from its newest saved state, on
// the data of config.data, and writes the part in the published layout to out/final. One file a stage, each a loop that
// reads top to bottom.
//   vae        pictures <-> latents: final/vae
//   tokenizer  pictures -> visual tokens: final/ with the visual tower and the codebook
//   dit        visual tokens and glyphs -> latents: final/transformer, final/text_encoder; needs `vae` and `tokenizer`
//   ar         prompt -> visual tokens: final/vision_language_encoder with the tokenizer's weights in it,
//              final/processor and final/tokenizer; needs `tokenizer`
// With config.lora.rank > 0 dit and ar train an adapter of the checkpoint `init` instead: final/adapter.safetensors.
void train_vae(const StageOptions& options);
void train_tokenizer(const StageOptions& options);
void train_dit(const StageOptions& options);
void train_ar(const StageOptions& options);

}  // namespace glmimage::train
