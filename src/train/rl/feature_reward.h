#pragma once

#include <memory>

#include "models/vae/vae.h"
#include "train/rl/reward.h"
#include "train/stage_options.h"

namespace glmimage::train::rl {

// How like two batches of pictures look to the checkpoint's own VAE encoder: the cosine of its features, of unit length
// at each place, the mean over places and then over the encoder's levels. The distance LPIPS takes (Zhang et al. 2018)
// without its learned weights and with other features than a classifier's, so its numbers are not LPIPS'.
// a, b (B, 3, H, W) in -1..1 -> (B) float32, -1..1; 1: the same.
at::Tensor feature_likeness(const Vae& vae, const at::Tensor& a, const at::Tensor& b);

// That likeness, 0 below 0, to the picture the world paints of the scene. Prompts without a scene are not judged.
std::unique_ptr<Reward> feature_reward(const StageOptions& options, world::World world);

}  // namespace glmimage::train::rl
