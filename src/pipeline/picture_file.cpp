#include "pipeline/picture_file.h"

#include <utility>

#include "core/sha256.h"
#include "core/visible_mark.h"

namespace glmimage {
namespace {

// Prompts are checked to be UTF-8 long before; a byte that is none must not cost the picture.
std::string ascii_dump(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::ordered_json::error_handler_t::replace);
}

// "glm-image 0.1.0 (LibTorch 2.11.0)" -> "glm-image 0.1.0"
std::string without_brackets(const std::string& program) { return program.substr(0, program.find(" (")); }

}  // namespace

PictureMetadata describe_picture(const Recipe& recipe, const PictureFileOptions& options) {
  PictureMetadata out;
  const std::string json = ascii_dump(recipe.to_json());
  if (options.with_recipe) {
    out.parameters = recipe.parameters();
    out.recipe = json;
    out.creator_tool = without_brackets(recipe.program);
  }
  if (options.label.mode != LabelMode::none) {
    validate_producer(options.label.producer);
    out.aigc_label = aigc_label(options.label.producer, sha256_hex(json).substr(0, 32));
    out.digital_source_type = kTrainedAlgorithmicMedia;
    out.creator_tool = without_brackets(recipe.program);
  }
  return out;
}

std::vector<uint8_t> picture_file(Image picture, Recipe recipe, const PictureFileOptions& options) {
  recipe.label = label_mode_name(options.label.mode);
  if (options.label.mode == LabelMode::visible) draw_visible_mark(picture);
  return encode_image(
      picture, {.format = options.format, .quality = options.quality, .metadata = describe_picture(recipe, options)});
}

}  // namespace glmimage
