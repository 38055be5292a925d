#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "models/vae/config.h"

namespace glmimage {

// The most bytes that one picture of height x width pixels, multiples of config.scale(), holds at a time on its way
// through the VAE without autograd, in weights and activations of `dtype`: activations, strips and the copies of
// kernels that convolutions make. The weights themselves and the program are not in it. For the published decoder and
// large pictures about 640·height·width values: 512 channels of the whole and either 128 of it or 512 of a quarter.
int64_t decode_bytes(const VaeConfig& config, int64_t height, int64_t width, c10::ScalarType dtype);
int64_t encode_bytes(const VaeConfig& config, int64_t height, int64_t width, c10::ScalarType dtype);

}  // namespace glmimage
