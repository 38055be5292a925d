#include "train/data/buckets.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace glmimage::train {
namespace {

constexpr int64_t kMultiple = 32;

double log_aspect(int64_t width, int64_t height) {
  return std::log(static_cast<double>(width) / static_cast<double>(height));
}

std::vector<Bucket> buckets_of(int64_t side, double most_aspect) {
  std::set<Bucket> found = {{side, side}};
  const double area = static_cast<double>(side) * static_cast<double>(side);
  for (int64_t width = kMultiple; static_cast<double>(width) <= static_cast<double>(side) * most_aspect;
       width += kMultiple) {
    const int64_t rows = std::llround(area / static_cast<double>(width) / kMultiple);
    const int64_t height = std::max<int64_t>(rows, 1) * kMultiple;
    const double share = static_cast<double>(width * height) / area;
    // An eighth more or less, or batches of one size would differ too much in work (32 px are coarse for small areas).
    if (std::abs(share - 1) > 0.125 || std::abs(log_aspect(width, height)) > std::log(most_aspect) + 1e-9) continue;
    found.insert({width, height});
    found.insert({height, width});  // rounding must not favour one direction
  }
  return {found.begin(), found.end()};
}

}  // namespace

BucketTable::BucketTable(const DataConfig& config) : small_pictures_(config.small_pictures) {
  for (int64_t side : config.areas)
    buckets_[side] = buckets_of(side, config.fit == Fit::window ? 1 : config.bucket_aspect);
}

std::optional<int64_t> BucketTable::choose_area(PictureSize picture) const {
  std::optional<int64_t> best;
  for (const auto& [side, buckets] : buckets_) {  // ascending
    const Bucket bucket = nearest(side, picture);
    const bool fills = picture.width >= bucket.width && picture.height >= bucket.height;
    if (fills || (!best && small_pictures_ == SmallPicture::enlarge)) best = side;
  }
  return best;
}

Bucket BucketTable::nearest(int64_t area, PictureSize picture) const {
  const double wanted = log_aspect(picture.width, picture.height);
  const auto distance = [&](const Bucket& bucket) {
    return std::abs(log_aspect(bucket.width, bucket.height) - wanted);
  };
  const std::vector<Bucket>& buckets = buckets_.at(area);
  return *std::min_element(buckets.begin(), buckets.end(),
                           [&](const Bucket& a, const Bucket& b) { return distance(a) < distance(b); });
}

std::optional<Bucket> BucketTable::choose(PictureSize picture) const {
  const std::optional<int64_t> area = choose_area(picture);
  if (!area) return std::nullopt;
  return nearest(*area, picture);
}

}  // namespace glmimage::train
