#pragma once

#include <cstdint>
#include <vector>

#include "core/encode_image.h"
#include "pipeline/label.h"
#include "pipeline/recipe.h"

namespace glmimage {

struct PictureFileOptions {
  PictureFormat format = PictureFormat::png;
  int quality = kDefaultQuality;  // of JPEG and WebP, 0 to 100
  LabelOptions label = {};
  bool with_recipe = true;  // the prompt may be nobody's business
};

// What a drawn picture's file says beside its pixels. The label's id is a hash of the recipe: the same picture has the
// same.
PictureMetadata describe_picture(const Recipe& recipe, const PictureFileOptions& options);

// A drawn picture as the bytes of a file: marked if the label is visible, with its label and its recipe, whose `label`
// becomes that of the options. Throws ErrorKind::usage as encode_image, validate_producer and draw_visible_mark do.
std::vector<uint8_t> picture_file(Image picture, Recipe recipe, const PictureFileOptions& options);

}  // namespace glmimage
