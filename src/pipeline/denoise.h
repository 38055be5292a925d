#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/dit/model.h"
#include "models/tokens.h"
#include "pipeline/progress.h"
#include "pipeline/scheduler.h"
#include "pipeline/step_cache.h"

namespace glmimage {

// A reference picture as the transformer reads it.
struct Reference {
  at::Tensor latents;             // (1, C, height/8, width/8), normalised
  VisualTokens tokens;            // its own visual tokens, 32 pixels each
  int64_t height = 0, width = 0;  // pixels, as encoded
};

// Runs every reference through the transformer once and keeps keys and values, in picture order. All share the origin
// of the rope and do not see each other. Throws ErrorKind::usage when latents and tokens disagree in size.
ReferenceCache encode_references(const DitModel& model, const std::vector<Reference>& references,
                                 Progress* progress = nullptr);

// One run from noise to latents. Tensors on the model's device; those with one row serve the whole batch.
struct DenoiseRequest {
  const DitModel& model;
  Schedule schedule;
  at::Tensor noise;                            // (B, C, height/8, width/8) float32
  at::Tensor glyphs;                           // (B or 1, G, text_dim)
  at::Tensor glyph_mask = {};                  // (B or 1, G) bool, false at padding; undefined: all real
  at::Tensor negative_glyphs = {};             // glyphs of the empty string; needed when guidance_scale > 1
  at::Tensor prior_ids;                        // (B or 1, N) int64
  int64_t height = 0, width = 0;               // pixels
  int64_t crop_top = 0, crop_left = 0;         // conditioning only, nothing is cropped
  const ReferenceCache* references = nullptr;  // read by the conditional pass only
  double guidance_scale = 1.5;                 // <= 1: the conditional pass alone
  StepCache* cache = nullptr;                  // new, for as many steps; nullptr: every step runs every block
  Progress* progress = nullptr;
  // Called after each step with the picture the step believes in: (B, C, height/8, width/8) float32 latents.
  std::function<void(int64_t step, const at::Tensor& x0)> preview = {};
  // From the latents before a step and their velocity to those behind it; empty: Euler's.
  std::function<at::Tensor(int64_t step, const at::Tensor& latents, const at::Tensor& velocity)> advance = {};
};

// Euler steps along v = v_u + guidance_scale·(v_c - v_u), latents in float32 throughout; the unconditional pass drops
// the prior, the glyphs and the references. -> (B, C, height/8, width/8) float32, normalised latents.
// Throws ErrorKind::cancelled, and ErrorKind::usage for ids the transformer does not know.
// Reference: diffusers 0.39.0, GlmImagePipeline.__call__.
at::Tensor denoise(const DenoiseRequest& request);

}  // namespace glmimage
