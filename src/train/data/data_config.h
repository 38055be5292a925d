#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/image.h"
#include "train/config/fields.h"
#include "train/world/world.h"

namespace glmimage::train {

// How a picture comes to the size of its bucket.
enum class Fit {
  cover,    // resized until it covers the bucket; what stands over is cut off
  stretch,  // both sides resized, nothing cut off: aspect ratios bend by up to half the distance of two buckets
  window,   // a window of its own pixels, not resized (unless it is smaller): what a VAE learns from
};
enum class CropAt { centre, random };
// What becomes of the pictures of a bucket that do not fill its last batch of an epoch.
enum class LastBatch {
  drop,   // left out; others are left out in the next epoch, as the order is another
  pad,    // the batch is filled with pictures of the same bucket that were seen already (DataBatch::real)
  carry,  // they come first in the bucket's next epoch: nothing is lost and nothing seen twice
};
enum class CaptionRule { required, optional };  // optional: pictures without captions get an empty one
enum class SmallPicture { enlarge, skip };      // smaller than the smallest area
enum class BrokenPicture { replace, fail };     // its header was whole, its pixels are not: found while training

template <>
struct EnumNames<Fit> {
  static const std::vector<std::pair<const char*, Fit>> names;
};
template <>
struct EnumNames<CropAt> {
  static const std::vector<std::pair<const char*, CropAt>> names;
};
template <>
struct EnumNames<LastBatch> {
  static const std::vector<std::pair<const char*, LastBatch>> names;
};
template <>
struct EnumNames<CaptionRule> {
  static const std::vector<std::pair<const char*, CaptionRule>> names;
};
template <>
struct EnumNames<SmallPicture> {
  static const std::vector<std::pair<const char*, SmallPicture>> names;
};
template <>
struct EnumNames<world::Languages> {
  static const std::vector<std::pair<const char*, world::Languages>> names;
};
template <>
struct EnumNames<BrokenPicture> {
  static const std::vector<std::pair<const char*, BrokenPicture>> names;
};

// How a data set's pictures are chosen and prepared. JSON has the fields' names and the enumerators' names.
struct DataConfig {
  // 512 stands for 512² px; a picture goes to the largest area it fills. Empty: a stage takes its model's picture size.
  std::vector<int64_t> areas;
  double bucket_aspect = 2;                         // buckets are at most this long; at least 1
  double max_aspect = 4;                            // pictures are at most this long, others are skipped
  int64_t min_side = 32, max_side = kMaxImageSide;  // pixels
  Fit fit = Fit::cover;
  CropAt crop = CropAt::centre;
  double flip = 0;             // probability of a mirrored picture; wrong for words and for "left of"
  double caption_dropout = 0;  // probability of an empty caption
  LastBatch last_batch = LastBatch::carry;
  CaptionRule captions = CaptionRule::required;
  SmallPicture small_pictures = SmallPicture::enlarge;
  BrokenPicture broken_pictures = BrokenPicture::replace;
  world::Languages languages = world::Languages::english;  // of synthetic pictures
  double words = 0.5;  // share of the synthetic pictures with room for a word that have one

  // Adds every field under `prefix` and its own name. Points into this object.
  void add_fields(FieldList& list, const std::string& prefix);
  nlohmann::json to_json() const;
  // Throws ErrorKind::usage for values out of range.
  void check() const;
};

}  // namespace glmimage::train
