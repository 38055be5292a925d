#include "train/world/arrangements.h"
#include "train/world/world_tables.h"

namespace glmimage::train::world {
namespace {

constexpr uint64_t kShare = 20;  // one combination of so many

// By the combination's words, so that a longer table of emoji leaves the choice as it was. FNV-1a, and the end of
// MurmurHash3, which makes every bit depend on every letter.
bool chosen(const std::string& combination) {
  uint64_t hash = 14695981039346656037ULL;
  for (const char letter : combination) hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211ULL;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdULL;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return (hash ^ (hash >> 33)) % kShare == 0;
}

}  // namespace

bool World::held_out(const Scene& scene) {
  const auto name = [&](size_t i) { return class_names().at(class_of(scene.objects.at(i))); };
  for (size_t i = 0; i < scene.objects.size(); ++i) {
    if (chosen(name(i) + " on " + colour_table().at(scene.background).name)) return true;
  }
  switch (scene.arrangement) {
    case Arrangement::left_of: return chosen(name(0) + " left of " + name(1));
    case Arrangement::right_of: return chosen(name(1) + " left of " + name(0));
    case Arrangement::above: return chosen(name(0) + " above " + name(1));
    case Arrangement::below: return chosen(name(1) + " above " + name(0));
    default: return false;
  }
}

}  // namespace glmimage::train::world
