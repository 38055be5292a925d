#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "eval/totals.h"
#include "pipeline/pipeline.h"
#include "pipeline/progress.h"

namespace glmimage::eval {

// The same pictures, drawn with two checkpoints.
struct ComparisonOptions {
  PipelineOptions before, after;     // the second is drawn with in the type of the first
  std::vector<std::string> prompts;  // what to draw; when there are none:
  int64_t scenes = 0;                // so many held-out scenes of the world, as `eval` draws them
  int64_t steps = 20;
  uint64_t seed = 1;  // picture i is drawn with seed + i
};

// What the second checkpoint's pictures have become.
struct Comparison {
  struct Picture {
    std::string prompt;
    uint64_t seed = 0;
    double psnr = 0;  // dB between the two, infinite when they are equal
  };
  struct Scores {
    Totals before, after;
  };
  int64_t steps = 0;
  std::vector<Picture> pictures;
  std::optional<Scores> scores;  // of scenes

  double psnr_quantile(double share) const;  // the lowest that at least this share of the pictures do not surpass
  nlohmann::json to_json() const;
  std::string text() const;  // for people, some lines
};

// 10 log10(255² / mean squared difference) in dB of two pictures of one size; infinite when they are equal. Throws
// ErrorKind::internal for two sizes.
double psnr(const Image& a, const Image& b);

// Whether scenes can be painted in the size of the first checkpoint's pictures: for those who have work to do before.
// Throws ErrorKind::usage (fonts, size), ErrorKind::checkpoint.
void validate(const ComparisonOptions& options);

// Draws with one checkpoint after the other: one at a time is in memory. `progress` follows each picture and stops it,
// `drawn` is told how many are done of twice the prompts. Throws what Pipeline draws with throws, and what
// World::open() does.
Comparison compare(const ComparisonOptions& options, Progress* progress = nullptr,
                   const std::function<void(int64_t done, int64_t total)>& drawn = {});

}  // namespace glmimage::eval
