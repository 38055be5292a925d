#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "models/vae/vae.h"
#include "pipeline/denoise.h"
#include "train/losses/flow_loss.h"
#include "train/presets.h"
#include "train/rl/prompts.h"
#include "train/stage_options.h"
#include "train/state/beginning.h"

namespace glmimage::train::rl {

// B pictures that are drawn together and learned from together: the passes of both have the same shapes, and so the
// same bits.
struct Chunk {
  int64_t pass = 0;                    // number of the pass that learns from it
  std::vector<const Prompt*> prompts;  // (B), of the roll-out
  std::vector<std::string> captions;   // (B), their texts
  VisualTokens tokens;                 // of B pictures, on the model's device
  at::Tensor noise;                    // (B, C, h, w) float32: what the pictures begin as
  at::Tensor latents;                  // (B, C, h, w) float32, normalised: what they became
  at::Tensor advantages;               // (B) float32

  int64_t size() const { return static_cast<int64_t>(captions.size()); }
};

// The type that roll-outs and passes are computed in, for Autocast: both alike.
std::optional<at::ScalarType> arithmetic_of(const TrainConfig& config);

// What the pictures of roll-outs are made with, and the weights that the distance `rl.kl` is measured from.
Foundations painted_foundations(const StageOptions& options);

// Draws the pictures of roll-outs with the pipeline's own pieces: square ones of the checkpoint's size, all of a chunk
// in one pass.
class Painter {
 public:
  // Reads the VAE of --vae, else of --init, and the scheduler's settings there.
  Painter(const StageOptions& options, const Preset& preset);

  Grid grid() const { return grid_; }  // visual tokens of a picture
  const glmimage::Schedule& schedule() const { return schedule_; }
  at::Tensor noise(int64_t count, at::Generator generator) const;  // (count, C, h, w) float32, drawn on the CPU

  // A chunk as one request. `glyphs`: encode_glyph_batch of its captions; `negative`: of the empty one. The model must
  // outlive it.
  DenoiseRequest request(const DitModel& model, const Chunk& chunk, const GlyphBatch& glyphs,
                         const GlyphBatch& negative) const;
  // From noise to latents, without gradients.
  at::Tensor paint(const FlowModel& model, const Chunk& chunk) const;
  std::vector<Image> decode(const at::Tensor& latents) const;

 private:
  at::Device device_;
  std::optional<at::ScalarType> arithmetic_;
  double guidance_scale_;
  Grid grid_;
  Vae vae_;
  glmimage::Schedule schedule_;
};

// A pass over a chunk at `latents` (R, C, h, w), R a multiple of its pictures, whose conditions repeat. `timestep` (R):
// the schedule's label less 1.
DitInput conditioned(const Chunk& chunk, const GlyphBatch& glyphs, const at::Tensor& latents,
                     const at::Tensor& timestep);

}  // namespace glmimage::train::rl
