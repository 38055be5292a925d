#include "serve/encode_picture.h"

#include "core/error.h"

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

std::string mime_of(const std::string& format) {
  if (format != "png" && format != "jpeg" && format != "webp") {
    fail(ErrorKind::usage, "the picture's format must be png, jpeg or webp, not '", format, "'");
  }
  return "image/" + format;
}

std::string encode_picture(const Image& picture, const JobRequest& request) {
  if (request.format != "png") fail(ErrorKind::usage, "pictures are written as png here, not as ", request.format);
  const std::vector<uint8_t> bytes = encode_png(picture);
  return {bytes.begin(), bytes.end()};
}

}  // namespace glmimage::serve
