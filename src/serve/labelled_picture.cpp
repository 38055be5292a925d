#include "serve/labelled_picture.h"

#include "core/error.h"
#include "core/visible_mark.h"
#include "pipeline/drawn_recipe.h"

namespace glmimage::serve {
namespace {

bool has_room_for_mark(const Image& picture) {
  try {
    require_room_for_mark(picture.width, picture.height);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::string LabelledPicture::operator()(const Job& job, const GenerateRequest& request,
                                        const GenerateResult& result) const {
  PictureFileOptions options = options_;
  options.format = parse_picture_format(job.request.format);
  options.quality = job.request.quality.value_or(kDefaultQuality);
  const bool watermark = job.request.extra.value("watermark", false);
  if (watermark && options.label.mode == LabelMode::hidden && has_room_for_mark(result.image)) {
    options.label.mode = LabelMode::visible;
  }
  const Recipe recipe = recipe_of_picture(painter_.run(), request, result.image, painter_.pipeline().dtype());
  const std::vector<uint8_t> bytes = picture_file(result.image, recipe, options);
  return {bytes.begin(), bytes.end()};
}

}  // namespace glmimage::serve
