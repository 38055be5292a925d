#pragma once

#include <string>

namespace glmimage {

// "glm-image 0.1.0 (LibTorch 2.11.0)".
std::string version_text();

}  // namespace glmimage
