#include "train/data/world_batches.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <random>

namespace glmimage::train {

std::vector<world::Scene> sample_scenes(const world::World& world, uint64_t seed, Stream stream, int64_t step,
                                        int64_t count) {
  std::mt19937_64 random(derive_seed(seed, stream, static_cast<uint64_t>(step)));
  std::vector<world::Scene> out;
  out.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) out.push_back(world.sample(random));
  return out;
}

at::Tensor vae_pixels(const std::vector<Image>& images) {
  const int64_t count = static_cast<int64_t>(images.size()), height = images[0].height, width = images[0].width;
  at::Tensor out = at::empty({count, 3, height, width}, at::kFloat);
  float* to = out.data_ptr<float>();
  for (const Image& image : images) {
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = 0; i < height * width; ++i) {
        *to++ = static_cast<float>(image.pixels[static_cast<size_t>(3 * i + c)]) / 127.5f - 1.0f;
      }
    }
  }
  return out;
}

std::vector<Image> random_crops(const world::World& world, const std::vector<world::Scene>& scenes, int64_t crop,
                                uint64_t seed) {
  std::mt19937_64 random(seed);
  const int64_t room = world.size() - crop;
  // The mean of two draws: the middle, where the objects are, is seen more often than the plain border.
  auto offset = [&] {
    const uint64_t span = static_cast<uint64_t>(room) + 1;
    return static_cast<int64_t>((random() % span + random() % span + 1) / 2);
  };
  std::vector<Image> out;
  for (const world::Scene& scene : scenes) {
    const Image whole = world.render(scene);
    Image part;
    part.width = part.height = crop;
    part.pixels.resize(static_cast<size_t>(3 * crop * crop));
    const int64_t x = offset(), y = offset();
    for (int64_t row = 0; row < crop; ++row) {
      const auto from = whole.pixels.begin() + 3 * ((y + row) * whole.width + x);
      std::copy(from, from + 3 * crop, part.pixels.begin() + 3 * row * crop);
    }
    out.push_back(std::move(part));
  }
  return out;
}

}  // namespace glmimage::train
