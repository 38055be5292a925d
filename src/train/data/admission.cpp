#include "train/data/admission.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace glmimage::train {

bool has_picture_name(const std::filesystem::path& file) {
  std::string extension = file.extension().native();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".webp";
}

// True when the picture may be used.
bool Admission::measure(Picture& picture) {
  if (picture.size == PictureSize{}) {
    try {
      const ExtentReader reader(picture.bytes);
      picture.size = picture_size(
          [&reader](uint64_t offset, std::span<uint8_t> out) { return reader.read(offset, out); }, picture.name);
    } catch (const Error& error) {
      skip(Skip::unreadable, picture.name, error.what());
      return false;
    }
  }
  const auto [longer, shorter] =
      std::pair(std::max(picture.size.width, picture.size.height), std::min(picture.size.width, picture.size.height));
  const std::string is = concat("is ", picture.size.width, " x ", picture.size.height, " px; ");
  if (longer > config_.max_side) {
    skip(Skip::too_large, picture.name, concat(is, "at most ", config_.max_side, " px a side are read"));
  } else if (shorter < config_.min_side) {
    skip(Skip::too_small, picture.name, concat(is, "sides of less than ", config_.min_side, " px are not used"));
  } else if (static_cast<double>(longer) > config_.max_aspect * static_cast<double>(shorter)) {
    skip(Skip::too_long, picture.name, concat(is, "at most ", config_.max_aspect, " to 1 is used"));
  } else {
    return true;
  }
  return false;
}

void Admission::consider(Record record) {
  if (record.captions.empty() && config_.captions == CaptionRule::required) {
    skip(Skip::no_caption, record.target.name, "no caption was found");
    return;
  }
  if (!measure(record.target)) return;
  for (Picture& source : record.sources) {
    if (!measure(source)) return;
  }
  kept_.push_back(std::move(record));
}

}  // namespace glmimage::train
