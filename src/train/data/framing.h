#pragma once

#include "core/image.h"
#include "train/data/buckets.h"
#include "train/data/data_config.h"

namespace glmimage::train {

// The chances of one visit, drawn once and applied to all pictures of a record, so that pairs stay aligned.
struct Chances {
  double across = 0.5, down = 0.5;  // 0..1: where the window lies in what stands over
  bool mirrored = false;
};

// What was done to a picture; the DiT is told the crop (its inputs `target_size` and `crop`).
struct Framing {
  PictureSize resized;   // before the cut
  int64_t x = 0, y = 0;  // the window's top left corner in it
  bool mirrored = false;
};

struct FramedPicture {
  Image image;  // of the bucket's size
  Framing framing;
};

// How a picture of this size comes to its bucket.
Framing plan_framing(PictureSize picture, Bucket bucket, Fit fit, const Chances& chances);
// Does it. Resized with Lanczos, as pictures are for the VAE in drawing (core/resize: Pillow's pixels).
FramedPicture frame_picture(const Image& picture, Bucket bucket, Fit fit, const Chances& chances);

}  // namespace glmimage::train
