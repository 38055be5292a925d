#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "eval/scenes.h"
#include "train/world/world.h"
#include "train/world/world_tables.h"

namespace glmimage::eval {

inline const world::World& shared_world() {
  static const world::World world = world::World::open();
  return world;
}

inline int64_t class_named(const std::string& name) {
  const auto& names = world::class_names();
  return std::find(names.begin(), names.end(), name) - names.begin();
}

inline int64_t colour_named(const std::string& name) {
  const auto& table = world::colour_table();
  const auto named = [&](const world::Colour& colour) { return colour.name == name; };
  return std::find_if(table.begin(), table.end(), named) - table.begin();
}

// One object in the middle.
inline EvalScene scene_with(int64_t class_id, int64_t background, const std::string& text = {}) {
  EvalScene out;
  out.scene = shared_world().with_object(class_id, background, text);
  out.prompt = out.scene.caption;
  return out;
}

}  // namespace glmimage::eval
