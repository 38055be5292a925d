#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>

namespace glmimage {

// A CPU generator of its own, seeded as torch.Generator('cpu').manual_seed(seed) is.
at::Generator make_generator(uint64_t seed);

// A seed from the operating system, below 2^63, for requests that name none.
uint64_t random_seed();

}  // namespace glmimage
