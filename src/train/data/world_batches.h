#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "train/random.h"
#include "train/world/world.h"

namespace glmimage::train {

// The scenes of one batch, a pure function of (seed, stream, step).
std::vector<world::Scene> sample_scenes(const world::World& world, uint64_t seed, Stream stream, int64_t step,
                                        int64_t count);

// Pictures as the VAE sees them: (B, 3, H, W) float32, -1..1.
at::Tensor vae_pixels(const std::vector<Image>& images);

// One random crop x crop window of each picture, nearer to its objects than to its border.
std::vector<Image> random_crops(const world::World& world, const std::vector<world::Scene>& scenes, int64_t crop,
                                uint64_t seed);

}  // namespace glmimage::train
