#include "eval/scenes.h"

#include <algorithm>
#include <random>

#include "train/random.h"

namespace glmimage::eval {
namespace {

// The stages measure themselves on the first few steps of the held-out stream.
constexpr int64_t kFirstStep = 1000000;

}  // namespace

std::vector<EvalScene> sample_scenes(const world::World& world, uint64_t seed, int64_t count) {
  std::vector<EvalScene> out;
  for (int64_t i = 0; i < count; ++i) {
    EvalScene each;
    std::mt19937_64 random(train::derive_seed(seed, train::Stream::held_out, static_cast<uint64_t>(kFirstStep + i)));
    each.scene = world.sample(random);
    each.prompt = canonical_caption(each.scene);
    out.push_back(std::move(each));
  }
  return out;
}

Rows word_rows(const world::Scene& scene, int64_t picture_size) {
  // Capitals are about 0.73 of the font's size; this leaves a fifth of it above and below.
  const int64_t half = (scene.text_size * 4 + 6) / 7;
  return {std::max<int64_t>(0, scene.text_centre_y - half), std::min(picture_size, scene.text_centre_y + half)};
}

}  // namespace glmimage::eval
