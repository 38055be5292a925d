#pragma once

#include <cstdint>

namespace glmimage::train {

// Every random choice of a run is a pure function of (seed, stream, index): the pictures of step n, its noise, its
// drops. So a resumed run needs no saved generator, and workers may make batches in any order.
enum class Stream : uint64_t {
  init = 1,
  data = 2,
  noise = 3,
  held_out = 5,
  codebook = 6,
  samples = 7,   // pictures drawn while training, to look at
  order = 20,    // which sample comes when
  augment = 21,  // captions, crops and flips
  mix = 22,      // which of several sources
  prompts = 30,  // of roll-outs (rl)
  rollout = 31,  // their noise and their draws
};

// SplitMix64 (Steele et al. 2014) over the three numbers.
inline uint64_t derive_seed(uint64_t seed, Stream stream, uint64_t index) {
  auto mix = [](uint64_t z) {
    z += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  };
  return mix(mix(mix(seed) ^ static_cast<uint64_t>(stream)) ^ index);
}

}  // namespace glmimage::train
