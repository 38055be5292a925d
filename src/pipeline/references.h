#pragma once

#include <ATen/core/Tensor.h>

#include "core/image.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "pipeline/denoise.h"

namespace glmimage {

// A picture to edit or to draw from reaches the model twice: as visual tokens (what is in it) and as latents (what it
// looks like). The two must agree in size, two latents' tokens to one visual token along each side, which the reference
// pipeline leaves to chance. Here every picture works:
//   - Where the reference agrees with itself, its way is taken to the pixel: the VAE sees the picture with sides
//   floored
//     to multiples of 16, the vision tower its smart-resized half.
//   - Every other picture is first resized once (Lanczos) to the nearest size at which the two agree, and then takes
//   the
//     same way. Both sides of that size are multiples of 32 between the preprocessor's min_side and max_side and at
//     most 4 to 1; longer pictures lose their ends to a centre crop.

// Whether the reference takes a picture of this size: smart_resize accepts it and both its views agree.
bool fits_as_it_is(PixelSize picture, const PreprocessConfig& config);

// How any other picture is made to fit: its middle `crop` is resized to `size`.
struct ReferenceFit {
  PixelSize crop, size;
};

// Throws ErrorKind::usage for an empty picture, ErrorKind::checkpoint when the preprocessor allows no size at all.
ReferenceFit fit_reference(PixelSize picture, const PreprocessConfig& config);

// The size at which a picture of this size is encoded by the VAE. Throws as fit_reference does.
PixelSize encoded_size(PixelSize picture, const PreprocessConfig& config);

// What the two encoders are fed.
struct ReferencePixels {
  Patches patches;    // for the visual tokenizer
  at::Tensor pixels;  // for the VAE: (1, 3, height, width) float32 on the CPU, -1..1; sides are 32 x the patch grid
};

// Any picture of at least one pixel. Throws as fit_reference does.
ReferencePixels prepare_reference(const Image& picture, const PreprocessConfig& config);

// The normalised mode of the latents: no noise, so no random numbers are drawn. pixels as above -> (1, C, height/8,
// width/8) float32 on the VAE's device; the encoder runs in the VAE's own type.
at::Tensor encode_latents(const at::Tensor& pixels, const Vae& vae);

// Both encoders.
Reference encode_reference(const ReferencePixels& pixels, const VisualTokenizer& tokenizer, const Vae& vae);

}  // namespace glmimage
