#include "train/rl/prompts.h"

#include <random>
#include <utility>

#include "core/error.h"
#include "text/utf8.h"
#include "train/data/permutation.h"
#include "train/random.h"

namespace glmimage::train::rl {
namespace {

int64_t letters_of(const std::string& word) {
  int64_t count = 0;
  for (size_t at = 0; at < word.size(); ++count) next_code_point(word, at);
  return count;
}

class WorldPrompts : public Prompts {
 public:
  WorldPrompts(world::World world, uint64_t seed, int64_t shortest_word)
      : world_(std::move(world)), seed_(seed), shortest_word_(shortest_word) {}

  Prompt at(uint64_t number) const override {
    std::mt19937_64 random(derive_seed(seed_, Stream::prompts, number));
    return prompt_of(draw(random, &world::World::sample));
  }
  std::optional<Prompt> held_out(uint64_t number) const override {
    // Far behind what `eval` and the stages take of this stream.
    std::mt19937_64 random(derive_seed(seed_, Stream::held_out, (uint64_t{1} << 32) + number));
    return prompt_of(draw(random, &world::World::sample_held_out));
  }
  bool repeats() const override { return false; }

 private:
  using Sample = world::Scene (world::World::*)(std::mt19937_64&) const;

  world::Scene draw(std::mt19937_64& random, Sample sample) const {
    world::Scene scene = (world_.*sample)(random);
    if (scene.text.empty()) return scene;
    // Another scene with a word, so that as many have one as before.
    while (letters_of(scene.text) < shortest_word_) scene = (world_.*sample)(random);
    return scene;
  }
  static Prompt prompt_of(world::Scene scene) {
    // The usual wording leaves nothing unsaid that is judged.
    return {.text = canonical_caption(scene), .scene = std::move(scene)};
  }

  world::World world_;
  uint64_t seed_;
  int64_t shortest_word_;
};

class ListedPrompts : public Prompts {
 public:
  ListedPrompts(std::vector<Prompt> prompts, uint64_t seed) : prompts_(std::move(prompts)), seed_(seed) {
    if (prompts_.empty()) fail(ErrorKind::usage, "the list of prompts is empty");
  }

  Prompt at(uint64_t number) const override {
    const uint64_t count = prompts_.size(), epoch = number / count;
    const Permutation order(static_cast<int64_t>(count), derive_seed(seed_, Stream::prompts, epoch));
    return prompts_[static_cast<size_t>(order(static_cast<int64_t>(number % count)))];
  }
  std::optional<Prompt> held_out(uint64_t) const override { return std::nullopt; }
  bool repeats() const override { return true; }

 private:
  std::vector<Prompt> prompts_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Prompts> world_prompts(world::World world, uint64_t seed, int64_t shortest_word) {
  if (world.languages() == world::Languages::english_and_chinese && shortest_word > 2) {
    fail(ErrorKind::usage, "rl.shortest_word is ", shortest_word, ", and Chinese words have one or two characters");
  }
  return std::make_unique<WorldPrompts>(std::move(world), seed, shortest_word);
}

std::unique_ptr<Prompts> listed_prompts(std::vector<Prompt> prompts, uint64_t seed) {
  return std::make_unique<ListedPrompts>(std::move(prompts), seed);
}

}  // namespace glmimage::train::rl
