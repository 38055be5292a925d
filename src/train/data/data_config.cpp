#include "train/data/data_config.h"

#include <set>

#include "core/error.h"

namespace glmimage::train {

const std::vector<std::pair<const char*, Fit>> EnumNames<Fit>::names = {
    {"cover", Fit::cover}, {"stretch", Fit::stretch}, {"window", Fit::window}};
const std::vector<std::pair<const char*, CropAt>> EnumNames<CropAt>::names = {{"centre", CropAt::centre},
                                                                              {"random", CropAt::random}};
const std::vector<std::pair<const char*, LastBatch>> EnumNames<LastBatch>::names = {
    {"drop", LastBatch::drop}, {"pad", LastBatch::pad}, {"carry", LastBatch::carry}};
const std::vector<std::pair<const char*, CaptionRule>> EnumNames<CaptionRule>::names = {
    {"required", CaptionRule::required}, {"optional", CaptionRule::optional}};
const std::vector<std::pair<const char*, SmallPicture>> EnumNames<SmallPicture>::names = {
    {"enlarge", SmallPicture::enlarge}, {"skip", SmallPicture::skip}};
const std::vector<std::pair<const char*, BrokenPicture>> EnumNames<BrokenPicture>::names = {
    {"replace", BrokenPicture::replace}, {"fail", BrokenPicture::fail}};

const std::vector<std::pair<const char*, world::Languages>> EnumNames<world::Languages>::names = {
    {"english", world::Languages::english}, {"english_and_chinese", world::Languages::english_and_chinese}};

void DataConfig::add_fields(FieldList& list, const std::string& prefix) {
  list.add(prefix + "areas", areas,
           "pixel areas of the buckets: 512 stands for 512 x 512; none: the model's own picture size");
  list.add(prefix + "bucket_aspect", bucket_aspect, "buckets are at most this long", 1, 16);
  list.add(prefix + "max_aspect", max_aspect, "pictures that are longer are passed over", 1, 1e6);
  list.add(prefix + "min_side", min_side, "pixels; smaller pictures are passed over", 1, kMaxImageSide);
  list.add(prefix + "max_side", max_side, "pixels; larger pictures are passed over", 1, kMaxImageSide);
  list.add_choice(prefix + "fit", fit, "to the bucket: cover, stretch or window");
  list.add_choice(prefix + "crop", crop, "where what stands over is cut off: centre or random");
  list.add(prefix + "flip", flip, "share of mirrored pictures", 0, 1);
  list.add(prefix + "caption_dropout", caption_dropout, "share of empty captions", 0, 1);
  list.add_choice(prefix + "last_batch", last_batch, "of a bucket's epoch: carry, pad or drop");
  list.add_choice(prefix + "captions", captions, "required or optional");
  list.add_choice(prefix + "small_pictures", small_pictures, "enlarge or skip");
  list.add_choice(prefix + "broken_pictures", broken_pictures, "found while training: replace or fail");
  list.add_choice(prefix + "languages", languages, "of synthetic pictures: english or english_and_chinese");
  list.add(prefix + "words", words, "share of the synthetic pictures with room for a word that have one", 0, 1);
}

nlohmann::json DataConfig::to_json() const {
  DataConfig copy = *this;
  FieldList list;
  copy.add_fields(list, "");
  return list.to_json();
}

void DataConfig::check() const {
  std::set<int64_t> seen;
  for (int64_t side : areas) {
    if (side < 32 || side > 4096 || side % 32 != 0 || !seen.insert(side).second) {
      fail(ErrorKind::usage, "data: 'areas' has ", side, "; expected different multiples of 32 from 32 to 4096");
    }
  }
  if (min_side > max_side) {
    fail(ErrorKind::usage, "data: sides from ", min_side, " to ", max_side, " px; expected the smaller first");
  }
}

}  // namespace glmimage::train
