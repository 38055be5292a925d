#include "train/data/framing.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/resize.h"

namespace glmimage::train {
namespace {

int64_t place(int64_t room, double share) {
  return std::clamp<int64_t>(static_cast<int64_t>(share * static_cast<double>(room + 1)), 0, room);
}

// The smallest size of the picture's own aspect that covers the bucket.
PictureSize covering(PictureSize picture, Bucket bucket) {
  const double across = static_cast<double>(bucket.width) / static_cast<double>(picture.width);
  const double down = static_cast<double>(bucket.height) / static_cast<double>(picture.height);
  const double scale = std::max(across, down);
  return {std::max<int64_t>(std::llround(static_cast<double>(picture.width) * scale), bucket.width),
          std::max<int64_t>(std::llround(static_cast<double>(picture.height) * scale), bucket.height)};
}

void mirror(Image& image) {
  for (int64_t y = 0; y < image.height; ++y) {
    uint8_t* row = image.pixels.data() + 3 * y * image.width;
    for (int64_t left = 0, right = image.width - 1; left < right; ++left, --right) {
      std::swap_ranges(row + 3 * left, row + 3 * left + 3, row + 3 * right);
    }
  }
}

}  // namespace

Framing plan_framing(PictureSize picture, Bucket bucket, Fit fit, const Chances& chances) {
  Framing framing;
  framing.mirrored = chances.mirrored;
  const bool large_enough = picture.width >= bucket.width && picture.height >= bucket.height;
  if (fit == Fit::stretch) {
    framing.resized = {bucket.width, bucket.height};
  } else {
    framing.resized = fit == Fit::window && large_enough ? picture : covering(picture, bucket);
  }
  framing.x = place(framing.resized.width - bucket.width, chances.across);
  framing.y = place(framing.resized.height - bucket.height, chances.down);
  return framing;
}

FramedPicture frame_picture(const Image& picture, Bucket bucket, Fit fit, const Chances& chances) {
  const Framing framing = plan_framing({picture.width, picture.height}, bucket, fit, chances);
  const bool own_size = framing.resized == PictureSize{picture.width, picture.height};
  const Image resized =
      own_size ? Image{} : resize(picture, framing.resized.width, framing.resized.height, Filter::lanczos);
  Image image = crop(own_size ? picture : resized, framing.x, framing.y, bucket.width, bucket.height);
  if (framing.mirrored) mirror(image);
  return {std::move(image), framing};
}

}  // namespace glmimage::train
