#include "train/data/data_config.h"

#include <set>
#include <string>
#include <utility>

#include "core/error.h"

namespace glmimage::train {
namespace {

using nlohmann::json;

template <typename Value>
using Names = std::vector<std::pair<const char*, Value>>;

const Names<Fit> kFits = {{"cover", Fit::cover}, {"stretch", Fit::stretch}, {"window", Fit::window}};
const Names<CropAt> kCrops = {{"centre", CropAt::centre}, {"random", CropAt::random}};
const Names<LastBatch> kLastBatches = {{"drop", LastBatch::drop}, {"pad", LastBatch::pad}, {"carry", LastBatch::carry}};
const Names<CaptionRule> kCaptionRules = {{"required", CaptionRule::required}, {"optional", CaptionRule::optional}};
const Names<SmallPicture> kSmall = {{"enlarge", SmallPicture::enlarge}, {"skip", SmallPicture::skip}};
const Names<BrokenPicture> kBroken = {{"replace", BrokenPicture::replace}, {"fail", BrokenPicture::fail}};

template <typename Value>
const char* to_name(const Names<Value>& names, Value value) {
  for (const auto& [name, candidate] : names) {
    if (candidate == value) return name;
  }
  fail(ErrorKind::internal, "a data setting has a value without a name");
}

template <typename Value>
void read_name(const JsonObject& from, const char* field, const Names<Value>& names, Value& to) {
  if (!from.has(field)) return;
  const std::string text = from.text(field);
  std::string known;
  for (const auto& [name, value] : names) {
    if (text == name) {
      to = value;
      return;
    }
    known += concat(known.empty() ? "" : ", ", name);
  }
  from.reject(field, concat("is '", text, "'; expected one of ", known));
}

DataConfig read_fields(const JsonObject& from) {
  DataConfig config;
  const json fields = config.to_json();
  for (const auto& item : from.value().items()) {
    if (!fields.contains(item.key())) from.reject(item.key(), "is unknown");
  }
  if (from.has("areas")) config.areas = from.integers("areas");
  config.bucket_aspect = from.number_or("bucket_aspect", config.bucket_aspect);
  config.max_aspect = from.number_or("max_aspect", config.max_aspect);
  config.min_side = from.integer_or("min_side", config.min_side);
  config.max_side = from.integer_or("max_side", config.max_side);
  read_name(from, "fit", kFits, config.fit);
  read_name(from, "crop", kCrops, config.crop);
  config.flip = from.number_or("flip", config.flip);
  config.caption_dropout = from.number_or("caption_dropout", config.caption_dropout);
  read_name(from, "last_batch", kLastBatches, config.last_batch);
  read_name(from, "captions", kCaptionRules, config.captions);
  read_name(from, "small_pictures", kSmall, config.small_pictures);
  read_name(from, "broken_pictures", kBroken, config.broken_pictures);
  config.check();
  return config;
}

}  // namespace

DataConfig DataConfig::from_json(const JsonObject& json) {
  try {
    return read_fields(json);
  } catch (const Error& error) {
    throw Error(ErrorKind::usage, error.what());  // a file of the user's, not of a checkpoint
  }
}

json DataConfig::to_json() const {
  return {{"areas", areas},
          {"bucket_aspect", bucket_aspect},
          {"max_aspect", max_aspect},
          {"min_side", min_side},
          {"max_side", max_side},
          {"fit", to_name(kFits, fit)},
          {"crop", to_name(kCrops, crop)},
          {"flip", flip},
          {"caption_dropout", caption_dropout},
          {"last_batch", to_name(kLastBatches, last_batch)},
          {"captions", to_name(kCaptionRules, captions)},
          {"small_pictures", to_name(kSmall, small_pictures)},
          {"broken_pictures", to_name(kBroken, broken_pictures)}};
}

void DataConfig::check() const {
  if (areas.empty()) fail(ErrorKind::usage, "data: 'areas' is empty; expected sides of squares, like 512");
  std::set<int64_t> seen;
  for (int64_t side : areas) {
    if (side < 32 || side > 4096 || side % 32 != 0 || !seen.insert(side).second) {
      fail(ErrorKind::usage, "data: 'areas' has ", side, "; expected different multiples of 32 from 32 to 4096");
    }
  }
  const auto share = [](const char* name, double value) {
    if (!(value >= 0 && value <= 1)) fail(ErrorKind::usage, "data: '", name, "' is ", value, "; expected 0 to 1");
  };
  share("flip", flip);
  share("caption_dropout", caption_dropout);
  if (!(bucket_aspect >= 1 && bucket_aspect <= 16)) {
    fail(ErrorKind::usage, "data: 'bucket_aspect' is ", bucket_aspect, "; expected 1 to 16");
  }
  if (!(max_aspect >= 1)) fail(ErrorKind::usage, "data: 'max_aspect' is ", max_aspect, "; expected 1 or more");
  if (min_side < 1 || max_side > kMaxImageSide || min_side > max_side) {
    fail(ErrorKind::usage, "data: sides from ", min_side, " to ", max_side, " px; expected 1 to ", kMaxImageSide,
         ", the smaller first");
  }
}

}  // namespace glmimage::train
