#include "models/visual_tokenizer/preprocess.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/resize.h"

namespace glmimage {
namespace {

// side · scale in whole patches, at least one; ties to even, as Python rounds.
int64_t whole_patches(int64_t side, double scale, int64_t patch) {
  const double patches = std::nearbyint(static_cast<double>(side) * scale / static_cast<double>(patch));
  return std::max(patch, static_cast<int64_t>(patches) * patch);
}

int64_t floor_patches(int64_t side, double divisor, int64_t patch) {
  const double patches = std::floor(static_cast<double>(side) / divisor / static_cast<double>(patch));
  return std::max(patch, static_cast<int64_t>(patches) * patch);
}

// What each of the 256 pixel values becomes: scaled in double, normalised in float32, as the reference does it.
std::array<float, 256> normalised_values(const PreprocessConfig& config, size_t channel) {
  const float mean = static_cast<float>(config.image_mean[channel]),
              std = static_cast<float>(config.image_std[channel]);
  std::array<float, 256> values;
  for (size_t v = 0; v < values.size(); ++v) {
    values[v] = (static_cast<float>(static_cast<double>(v) * config.rescale_factor) - mean) / std;
  }
  return values;
}

}  // namespace

PixelSize smart_resize(PixelSize picture, const PreprocessConfig& config) {
  const auto [height, width] = picture;
  const int64_t patch = config.patch_size, shortest = std::min(height, width), longest = std::max(height, width);
  if (shortest < patch) {
    fail(ErrorKind::usage, "a picture of ", width, " x ", height, " pixels is too small: expected sides of at least ",
         patch);
  }
  if (static_cast<double>(longest) / static_cast<double>(shortest) > 4) {
    fail(ErrorKind::usage, "a picture of ", width, " x ", height,
         " pixels is too long: expected sides of at most 4 to 1");
  }
  const double low = static_cast<double>(config.min_side()), high = static_cast<double>(config.max_side());
  double scale = 1;
  if (static_cast<double>(shortest) < low) scale = low / static_cast<double>(shortest);
  if (static_cast<double>(longest) * scale > high) scale = high / static_cast<double>(longest);

  PixelSize out = {whole_patches(height / 2, scale, patch), whole_patches(width / 2, scale, patch)};
  const double larger = static_cast<double>(std::max(out.height, out.width));
  if (larger > high) {
    out = {floor_patches(out.height, larger / high, patch), floor_patches(out.width, larger / high, patch)};
  }
  return out;
}

Patches cut_patches(const Image& picture, const PreprocessConfig& config) {
  const int64_t p = config.patch_size, gh = picture.height / p, gw = picture.width / p;
  if (gh < 1 || gw < 1 || gh * p != picture.height || gw * p != picture.width) {
    fail(ErrorKind::usage, "a picture of ", picture.width, " x ", picture.height,
         " pixels cannot be cut into patches of ", p, " x ", p);
  }
  const std::array<std::array<float, 256>, 3> values = {normalised_values(config, 0), normalised_values(config, 1),
                                                        normalised_values(config, 2)};
  at::Tensor planes = at::empty({3, picture.height, picture.width}, at::kFloat);
  float* to = planes.mutable_data_ptr<float>();
  const size_t count = static_cast<size_t>(picture.height * picture.width);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < count; ++i) *to++ = values[c][picture.pixels[3 * i + c]];
  }
  const at::Tensor patches = planes.view({3, gh, p, gw, p}).permute({1, 3, 0, 2, 4});  // (gh, gw, 3, p, p)
  return {patches.reshape({gh * gw, 3 * p * p}), {gh, gw}};
}

Patches preprocess(const Image& picture, const PreprocessConfig& config) {
  const PixelSize size = smart_resize({picture.height, picture.width}, config);
  return cut_patches(resize(picture, size.width, size.height, config.resample), config);
}

}  // namespace glmimage
