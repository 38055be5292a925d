#include "serve/encode_picture.h"

#include "core/encode_image.h"

namespace glmimage::serve {

GenerateRequest picture_request(const JobRequest& request, int64_t index) {
  GenerateRequest out;
  out.prompt = request.prompt;
  out.width = request.width;
  out.height = request.height;
  out.steps = request.steps;
  out.guidance_scale = request.guidance_scale;
  out.seed = request.seed + static_cast<uint64_t>(index);
  out.temperature = request.temperature;
  out.top_p = request.top_p;
  out.cache = request.cache;
  return out;
}

std::vector<int64_t> partial_steps(int64_t steps, int64_t partial_images) {
  std::vector<int64_t> out;
  for (int64_t k = 1; k <= partial_images; ++k) {
    const int64_t step = steps * k / (partial_images + 1) - 1;
    if (step >= 0 && (out.empty() || step > out.back())) out.push_back(step);
  }
  return out;
}

std::string encode_picture(const Image& picture, const JobRequest& request) {
  const std::vector<uint8_t> bytes = encode_image(
      picture, {.format = parse_picture_format(request.format), .quality = request.quality.value_or(kDefaultQuality)});
  return {bytes.begin(), bytes.end()};
}

}  // namespace glmimage::serve
