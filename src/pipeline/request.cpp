#include "pipeline/request.h"

#include <cmath>

#include "core/error.h"

namespace glmimage {
namespace {

void check_side(const char* name, int64_t value) {
  if (value < 1 || value > kMaxSide) {
    fail(ErrorKind::usage, "the ", name, " must be between 1 and ", kMaxSide, " pixels, not ", value);
  }
}

int64_t round_up_to_token(int64_t side) { return (side + 31) / 32 * 32; }

}  // namespace

void validate(const GenerateRequest& request) {
  if (request.prompt.find_first_not_of(" \t\r\n") == std::string::npos && request.references.empty()) {
    fail(ErrorKind::usage, "the prompt is empty: say what to draw");
  }
  if (request.prompt.size() > kMaxPromptBytes) {
    fail(ErrorKind::usage, "the prompt has ", request.prompt.size(), " bytes, more than the ", kMaxPromptBytes,
         " allowed");
  }
  if (request.references.size() > kMaxReferences) {
    fail(ErrorKind::usage, "at most ", kMaxReferences, " reference pictures are allowed, not ",
         request.references.size());
  }
  if (request.width) check_side("width", *request.width);
  if (request.height) check_side("height", *request.height);
  if (request.steps < 1 || request.steps > 1000) {
    fail(ErrorKind::usage, "the number of steps must be between 1 and 1000, not ", request.steps);
  }
  if (!std::isfinite(request.guidance_scale) || request.guidance_scale < 0 || request.guidance_scale > 100) {
    fail(ErrorKind::usage, "the guidance scale must be between 0 and 100, not ", request.guidance_scale);
  }
  if (request.temperature && !(*request.temperature >= 0 && *request.temperature <= 100)) {
    fail(ErrorKind::usage, "the temperature must be between 0 (greedy) and 100, not ", *request.temperature);
  }
  if (request.top_p && !(*request.top_p > 0 && *request.top_p <= 1)) {
    fail(ErrorKind::usage, "top-p must be above 0 and at most 1, not ", *request.top_p);
  }
  validate(request.cache);
}

DrawSize resolve_size(const GenerateRequest& request, int64_t fallback_width, int64_t fallback_height) {
  DrawSize size;
  size.width = request.width.value_or(fallback_width);
  size.height = request.height.value_or(fallback_height);
  check_side("width", size.width);
  check_side("height", size.height);
  size.drawn_width = round_up_to_token(size.width);
  size.drawn_height = round_up_to_token(size.height);
  if (size.drawn_width * size.drawn_height > kMaxPixels) {
    fail(ErrorKind::usage, "a picture of ", size.width, " x ", size.height, " has more than the ", kMaxPixels,
         " pixels allowed");
  }
  return size;
}

}  // namespace glmimage
