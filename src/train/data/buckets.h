#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/picture_size.h"
#include "train/data/data_config.h"

namespace glmimage::train {

// A size that pictures are brought to, so that several fit one tensor. Sides are multiples of 32 (a visual token).
struct Bucket {
  int64_t width = 0, height = 0;  // pixels
  auto operator<=>(const Bucket&) const = default;
};

// The buckets of every area: for each width the height whose product is nearest to the area (and within an eighth of
// it), as long as neither side is more than `bucket_aspect` times the other, and all of them turned round. Fit::window
// knows only squares. Bucketing by aspect ratio: NovelAI, "Improvements on Stable Diffusion" (2022).
class BucketTable {
 public:
  explicit BucketTable(const DataConfig& config);

  // The largest area a picture fills without being enlarged (the smallest, when it fills none), and of its buckets the
  // one of the nearest aspect by logarithm. None for a picture that is too small under SmallPicture::skip.
  std::optional<Bucket> choose(PictureSize picture) const;
  // The side of the square that area is named after, as in DataConfig::areas.
  std::optional<int64_t> choose_area(PictureSize picture) const;
  Bucket nearest(int64_t area, PictureSize picture) const;
  const std::vector<Bucket>& of_area(int64_t area) const { return buckets_.at(area); }

 private:
  std::map<int64_t, std::vector<Bucket>> buckets_;  // by area, sorted
  SmallPicture small_pictures_;
};

}  // namespace glmimage::train
