#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/world/world.h"

namespace glmimage::eval {

namespace world = train::world;

// A prompt and what a picture of it has to show.
struct EvalScene {
  std::string prompt;
  world::Scene scene;           // what must be seen, and how the ground truth is painted
  bool says_background = true;  // false: any background will do
  bool says_places = true;      // false: the objects may lie anywhere
};

// `count` scenes of the world that are held out from training (World::sample_held_out), from a stream of random numbers
// that no training draws from. Scene i is a pure function of (seed, i): a longer list begins with the shorter one.
// Prompts are the canonical captions, which leave nothing of what is measured unsaid.
std::vector<EvalScene> sample_scenes(const world::World& world, uint64_t seed, int64_t count);

// A list of somebody's own, one JSON object a line (docs/evaluation.md). Throws ErrorKind::usage with file and line for
// what is no such object, names something the world does not know, or cannot be painted.
std::vector<EvalScene> read_scenes(const world::World& world, const std::filesystem::path& file);

// The rectangle a scene's word stands in, in rows of pixels, with a little room above and below: [first, last).
struct Rows {
  int64_t first = 0, last = 0;
};
Rows word_rows(const world::Scene& scene, int64_t picture_size);

}  // namespace glmimage::eval
