#include "core/version.h"

#include <torch/headeronly/version.h>

namespace glmimage {

std::string version_text() {
  return std::string("glm-image ") + GLM_IMAGE_VERSION + " (LibTorch " + TORCH_VERSION + ")";
}

}  // namespace glmimage
