#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/tokens.h"
#include "train/presets.h"
#include "train/stages/stages.h"
#include "train/world/world.h"

namespace glmimage::train {

// Pictures of the world, already seen by the finished tokenizer (and VAE), with their captions.
struct CorpusBatch {
  std::vector<std::string> captions;
  at::Tensor ids;        // (B, h·w) int64: visual tokens of the picture
  at::Tensor draft_ids;  // (B, dh·dw) int64: visual tokens of the picture reduced to the draft grid
  at::Tensor prior_ids;  // (B, 4·h·w) int64: ids as the DiT reads them
  at::Tensor latents;    // (B, C, H/8, W/8) float32, normalised; undefined for CorpusParts::ids
};

enum class CorpusParts { ids, latents };

// A frozen set of pictures: the later stages read ids and latents many times and encode them once. Kept on disk beside
// the run, keyed by the parts' weights and the settings.
class Corpus {
 public:
  // Makes or loads the corpus. Throws ErrorKind::usage when options.tokenizer or options.vae is needed and missing.
  static Corpus build(const world::World& world, const Preset& preset, const StageOptions& options, CorpusParts parts);

  int64_t size() const { return ids_.size(0); }
  // The batch of a step, a pure function of (seed, step), drawn from all but the last `held_out` pictures.
  CorpusBatch batch(uint64_t seed, int64_t step, int64_t count, int64_t held_out = 0) const;
  // These entries, for evaluation.
  CorpusBatch at(const std::vector<int64_t>& indices) const;
  const Grid& grid() const { return grid_; }
  const Grid& draft_grid() const { return draft_grid_; }

 private:
  Grid grid_, draft_grid_;
  std::vector<std::string> captions_;
  at::Tensor ids_, draft_ids_, latents_;  // ids int32, latents bfloat16 to halve the memory
};

}  // namespace glmimage::train
