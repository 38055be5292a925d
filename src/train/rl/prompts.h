#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/world/world.h"

namespace glmimage::train::rl {

// What is to be drawn, and what must be seen then.
struct Prompt {
  std::string text;
  std::optional<world::Scene> scene;  // of the synthetic world; nothing: the prompt's words are all that is known
  bool says_background = true;        // false: any background will do
  bool says_places = true;            // false: the objects may lie anywhere
};

// The prompts of all roll-outs. Pure functions of their number, so that a run that goes on needs no more than that.
class Prompts {
 public:
  virtual ~Prompts() = default;
  virtual Prompt at(uint64_t number) const = 0;
  // One that is never learned from. Nothing where there are none.
  virtual std::optional<Prompt> held_out(uint64_t number) const = 0;
  // False: each is told once only, nearly always.
  virtual bool repeats() const = 0;
};

// Scenes of the world as training paints them, held-out combinations left out; of those with a word only such whose
// word has at least `shortest_word` letters. data_config.words is World::words(). Held out: scenes that training never
// paints.
std::unique_ptr<Prompts> world_prompts(world::World world, uint64_t seed, int64_t shortest_word);

// A list, in another order each time. Nothing of it is held out. Throws ErrorKind::usage for an empty one.
std::unique_ptr<Prompts> listed_prompts(std::vector<Prompt> prompts, uint64_t seed);

}  // namespace glmimage::train::rl
