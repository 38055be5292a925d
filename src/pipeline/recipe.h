#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/cache_policy.h"
#include "pipeline/model_identity.h"
#include "pipeline/request.h"

namespace glmimage {

// An adapter a picture was drawn with.
struct RecipeAdapter {
  ModelIdentity identity;
  double scale = 1;
  bool operator==(const RecipeAdapter&) const = default;
};

// A picture another one was drawn from.
struct RecipeReference {
  std::string name;  // the file's, without its folder; may be empty
  std::string hash;  // hash_picture
  int64_t width = 0, height = 0;
  bool operator==(const RecipeReference&) const = default;
};

// Everything it takes to draw a picture again, to the bit on the same build and processor. Kept in the picture's file.
struct Recipe {
  std::string program;  // version_text()
  ModelIdentity model;
  std::string prompt;  // UTF-8
  uint64_t seed = 0;
  int64_t width = 0, height = 0;  // pixels, as asked for
  int64_t steps = 50;
  double guidance_scale = 1.5;
  std::optional<double> temperature, top_p;  // unset: the checkpoint's
  CachePolicy cache = {};
  std::vector<RecipeAdapter> loras;
  std::vector<RecipeReference> references;  // in prompt order
  std::string dtype;                        // that of the weights: float32, bfloat16, float16
  std::string device = "cpu";               // the kind, as parse_device reads it, not which one
  int64_t threads = 0;                      // of the processor: sums are cut by their number; 0: not known
  std::string label = "hidden";             // of pipeline/label.h: a visible mark is part of the picture

  // In the order above, ASCII alone where it is dumped with ensure_ascii.
  nlohmann::ordered_json to_json() const;
  // The reverse. A picture's file is hostile: throws ErrorKind::usage naming `name` and the field that is missing, of
  // another type or out of range.
  static Recipe from_json(const std::string& text, const std::string& name);

  // The same for readers, as Stable Diffusion's web UI writes it: the prompt, then "Steps: 50, Sampler: Euler, …".
  std::string parameters() const;

  // The request without its pictures.
  GenerateRequest request() const;
};

}  // namespace glmimage
