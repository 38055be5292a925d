#include "pipeline/references.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/resize.h"

namespace glmimage {
namespace {

constexpr double kMaxAspect = 4;  // the longest picture smart_resize accepts

int64_t floor_to(int64_t value, int64_t multiple) { return value / multiple * multiple; }
int64_t ceil_to(int64_t value, int64_t multiple) { return floor_to(value + multiple - 1, multiple); }

double aspect(PixelSize size) {
  const auto [shortest, longest] = std::minmax(size.height, size.width);
  return static_cast<double>(longest) / static_cast<double>(shortest);
}

// Sides of the sizes a picture may be resized to: both multiples of 32.
struct Limits {
  int64_t low, high;
};

Limits side_limits(const PreprocessConfig& config) {
  const Limits limits = {ceil_to(std::max(config.min_side(), config.patch_size), kPixelsPerVisualToken),
                         floor_to(config.max_side(), kPixelsPerVisualToken)};
  if (limits.low > limits.high || !fits_as_it_is({limits.low, limits.low}, config)) {
    fail(ErrorKind::checkpoint, "preprocessor_config.json: no reference picture fits: expected a multiple of ",
         kPixelsPerVisualToken, " between the roots of min_pixels (", config.min_side(), ") and max_pixels (",
         config.max_side(), ") and patches of ", kPixelsPerDitToken, " pixels, not ", config.patch_size);
  }
  return limits;
}

// The middle of a picture that is longer than `longest` to 1, whole otherwise.
PixelSize crop_to_aspect(PixelSize picture, double longest) {
  const auto shortened = [&](int64_t side) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(side) * longest));
  };
  return {std::min(picture.height, shortened(picture.width)), std::min(picture.width, shortened(picture.height))};
}

// Of the multiples of 32 around the wanted sides, the pair that changes both the least. One always remains: the shorter
// side rounded up and the longer one down is within the limits and no longer than what was wanted.
PixelSize nearest_legal(double height, double width, Limits limits) {
  PixelSize best;
  double best_cost = INFINITY;
  const auto step = [&](double side, int64_t up) {
    const double cells = std::floor(side / kPixelsPerVisualToken);
    return std::clamp((static_cast<int64_t>(cells) + up) * kPixelsPerVisualToken, limits.low, limits.high);
  };
  for (int64_t up_h : {0, 1}) {
    for (int64_t up_w : {0, 1}) {
      const PixelSize size = {step(height, up_h), step(width, up_w)};
      const double dh = std::log(static_cast<double>(size.height) / height),
                   dw = std::log(static_cast<double>(size.width) / width);
      const double cost = dh * dh + dw * dw + (dh - dw) * (dh - dw);  // size, and stretch
      if (aspect(size) <= kMaxAspect && cost < best_cost) {
        best = size;
        best_cost = cost;
      }
    }
  }
  return best;
}

Image cropped_and_resized(const Image& picture, const ReferenceFit& fit) {
  const auto [crop_size, size] = fit;
  if (crop_size == PixelSize{picture.height, picture.width})
    return resize(picture, size.width, size.height, Filter::lanczos);
  const int64_t x = (picture.width - crop_size.width) / 2, y = (picture.height - crop_size.height) / 2;
  return resize(crop(picture, x, y, crop_size.width, crop_size.height), size.width, size.height, Filter::lanczos);
}

// The reference's own two views of a picture that fits. VAE: Lanczos to multiples of 16, v/255, then 2x - 1, in
// float32.
ReferencePixels views(const Image& picture, const PreprocessConfig& config) {
  const int64_t height = floor_to(picture.height, kPixelsPerDitToken),
                width = floor_to(picture.width, kPixelsPerDitToken);
  const at::Tensor bytes = to_tensor(resize(picture, width, height, Filter::lanczos));    // (H, W, 3) uint8
  const at::Tensor unit = bytes.to(at::kFloat).div(255).permute({2, 0, 1}).unsqueeze(0);  // (1, 3, H, W), 0..1
  return {preprocess(picture, config), (unit * 2 - 1).contiguous()};
}

}  // namespace

bool fits_as_it_is(PixelSize picture, const PreprocessConfig& config) {
  if (std::min(picture.height, picture.width) < std::max(config.patch_size, kPixelsPerDitToken)) return false;
  if (aspect(picture) > kMaxAspect) return false;
  const PixelSize tower = smart_resize(picture, config);
  return 2 * (tower.height / config.patch_size) == picture.height / kPixelsPerDitToken &&
         2 * (tower.width / config.patch_size) == picture.width / kPixelsPerDitToken;
}

ReferenceFit fit_reference(PixelSize picture, const PreprocessConfig& config) {
  if (picture.height < 1 || picture.width < 1) fail(ErrorKind::usage, "a reference picture is empty");
  const Limits limits = side_limits(config);
  const double low = static_cast<double>(limits.low), high = static_cast<double>(limits.high);
  const PixelSize crop = crop_to_aspect(picture, std::min(kMaxAspect, high / low));
  const double height = static_cast<double>(crop.height), width = static_cast<double>(crop.width);
  double scale = std::max(1.0, low / std::min(height, width));
  scale = std::min(scale, high / std::max(height, width));
  const auto inside = [&](double side) {
    return std::clamp(side * scale, low, high);
  };  // a crop of few pixels is coarse
  return {crop, nearest_legal(inside(height), inside(width), limits)};
}

PixelSize encoded_size(PixelSize picture, const PreprocessConfig& config) {
  const PixelSize fitted = fits_as_it_is(picture, config) ? picture : fit_reference(picture, config).size;
  return {floor_to(fitted.height, kPixelsPerDitToken), floor_to(fitted.width, kPixelsPerDitToken)};
}

ReferencePixels prepare_reference(const Image& picture, const PreprocessConfig& config) {
  const PixelSize size = {picture.height, picture.width};
  if (fits_as_it_is(size, config)) return views(picture, config);
  return views(cropped_and_resized(picture, fit_reference(size, config)), config);
}

at::Tensor encode_latents(const at::Tensor& pixels, const Vae& vae) {
  // The reference pipeline's pixels come from (H, W, 3) arrays and so keep that layout through its encoder.
  const at::Tensor on_device = pixels.to(vae.device()).contiguous(at::MemoryFormat::ChannelsLast);
  return vae.normalise(vae.encode(on_device).mean.to(at::kFloat));
}

Reference encode_reference(const ReferencePixels& pixels, const VisualTokenizer& tokenizer, const Vae& vae) {
  return {.latents = encode_latents(pixels.pixels, vae),
          .tokens = tokenizer.encode(pixels.patches),
          .height = pixels.pixels.size(2),
          .width = pixels.pixels.size(3)};
}

}  // namespace glmimage
