#include "core/rng.h"

#include <ATen/CPUGeneratorImpl.h>

#include <random>

namespace glmimage {

at::Generator make_generator(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

uint64_t random_seed() {
  std::random_device device;
  return ((static_cast<uint64_t>(device()) << 32) | device()) >> 1;
}

}  // namespace glmimage
