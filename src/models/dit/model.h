#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/parameters.h"
#include "models/dit/block.h"
#include "models/dit/block_cache.h"
#include "models/dit/conditioning.h"
#include "models/dit/config.h"
#include "models/dit/references.h"
#include "models/dit/rope.h"
#include "models/layers/layer_turn.h"
#include "models/layers/recompute.h"
#include "models/layers/sequence_parallel.h"
#include "models/tokens.h"

namespace glmimage {

// One pass's inputs, all on the model's device. B pictures share one size; tensors written (B or 1, …) may have one row
// for all of them. With p the patch size, latents of (p·h, p·w) are h x w = N image tokens.
struct DitInput {
  at::Tensor latents;          // (B, C, p·h, p·w), any float type: cast to the model's
  at::Tensor glyphs;           // (B or 1, G, text_dim), G may be 0
  at::Tensor glyph_mask = {};  // (B or 1, G) bool, true = real, false = padding; undefined: all real
  at::Tensor prior_ids;        // (B or 1, N) int64 in [0, codes)
  at::Tensor prior_drop = {};  // (B or 1) or (B or 1, N) bool, true = no prior here; undefined: none dropped
  at::Tensor timestep;         // (B or 1) float, the schedule's label minus 1; 0 for references
  at::Tensor target_size;      // (B or 1, 2) float32: (height, width) in pixels
  at::Tensor crop;             // (B or 1, 2) float32: (top, left) in pixels
};

// The part of a pass that does not change from step to step.
struct DitPrepared {
  Grid grid;              // image tokens
  at::Tensor prior;       // (B or 1, N, D)
  at::Tensor glyphs;      // (B or 1, G, D)
  at::Tensor glyph_mask;  // (B or 1, G) bool, or undefined
  at::Tensor size;        // (B or 1, T)
  DitRope rope;

  // Two passes over equally large pictures as one of twice as many samples, those of `first` in front; each has one row
  // or `batch`. The shorter glyphs are padded and masked. Both have the same size and crop: only one row is kept.
  static DitPrepared pair(const DitPrepared& first, const DitPrepared& second, int64_t batch);
};

// What a step may read and write beside its inputs.
struct DitStepOptions {
  const ReferenceCache* references =
      nullptr;                   // attend to them too (the reference's cache mode "read"); nullptr: "skip"
  BlockCache* blocks = nullptr;  // may spare the step some of its blocks
  Activations activations = Activations::keep;
};

// GLM-Image's diffusion transformer: noisy latents, glyphs and prior ids -> velocity. Const after loading; all methods
// work under autograd. Reference: diffusers 0.39.0, GlmImageTransformer2DModel.
struct DitModel {
  DitModel() = default;
  explicit DitModel(const DitConfig& config);
  // Reads transformer/ of a checkpoint. Throws ErrorKind::checkpoint.
  static DitModel open(const std::filesystem::path& folder, const Placement& placement);

  void list(ParameterList& list);

  // prepare + step.
  at::Tensor forward(const DitInput& input, const ReferenceCache* references = nullptr,
                     Activations activations = Activations::keep) const;  // -> like latents
  // The pass over a reference picture (mode "write"): appends the keys and values of every block to the cache. Output
  // and the last block's attention are left out. Inputs as for forward, with G = 0 and timestep 0.
  void write_references(const DitInput& input, ReferenceCache& references,
                        Activations activations = Activations::keep) const;

  // input.timestep and the values of input.latents (not their shape) are ignored.
  DitPrepared prepare(const DitInput& input) const;
  // -> (B, out_channels, p·h, p·w) in the model's type
  at::Tensor step(const at::Tensor& latents, const at::Tensor& timestep, const DitPrepared& prepared,
                  const DitStepOptions& options = {}) const;

  // The pieces of step.
  at::Tensor conditioning(const at::Tensor& timestep, const DitPrepared& prepared) const;  // -> e (B, T)
  DitStreams embed(const at::Tensor& latents, const DitPrepared& prepared) const;
  at::Tensor key_bias(const DitPrepared& prepared, const ReferenceCache* references, int64_t batch) const;
  at::Tensor finish(const at::Tensor& image, const at::Tensor& e, Grid grid) const;

  at::ScalarType dtype() const { return image_projector.bias.scalar_type(); }
  at::Device device() const { return image_projector.bias.device(); }

  DitConfig config;
  Linear image_projector;  // "image_projector.proj"
  FeedForward glyph_projector;
  Embedding prior_token_embedding;
  FeedForward prior_projector;
  TimeConditionEmbed time_condition_embed;
  std::vector<DitBlock> transformer_blocks;
  Linear norm_out;  // "norm_out.linear"
  Linear proj_out;
  LayerListener* listener = nullptr;  // of `transformer_blocks`
  // Set: this process computes its part of the tokens (prepared passes and references hold that part); what goes in and
  // comes out of forward is whole. Throws ErrorKind::usage for pictures whose tokens cannot be divided.
  const SequenceParallel* sequence = nullptr;

 private:
  at::Tensor patchify(const at::Tensor& latents) const;
};

}  // namespace glmimage
