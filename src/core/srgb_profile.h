#pragma once

#include <cstdint>
#include <vector>

namespace glmimage {

// An ICC profile (version 4) that says: these pixels are sRGB. About half a kilobyte, always the same bytes.
const std::vector<uint8_t>& srgb_profile();

}  // namespace glmimage
