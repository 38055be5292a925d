#include "train/rl/feature_reward.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/autocast.h"
#include "train/data/half_size.h"
#include "train/stages/starting_point.h"

namespace glmimage::train::rl {
namespace {

constexpr size_t kAtOnce = 16;  // pictures

// What each level of the encoder makes of pictures.
std::vector<at::Tensor> features_of(const VaeEncoder& encoder, const at::Tensor& pixels) {
  std::vector<at::Tensor> out;
  at::Tensor h = encoder.conv_in(pixels);
  for (const VaeBlock& block : encoder.down_blocks) {
    block.replace(h);
    out.push_back(h.clone());  // the next block may overwrite it
  }
  return out;
}

class FeatureReward : public Reward {
 public:
  FeatureReward(const StageOptions& options, world::World world)
      : device_(options.device),
        vae_(Vae::open(vae_folder(options), {at::kFloat, device_})),
        world_(std::move(world)) {}

  std::vector<Score> score(std::span<const Judged> pictures) override {
    at::NoGradGuard no_grad;
    const Autocast none(device_, std::nullopt);
    std::vector<Score> out(pictures.size());
    std::vector<size_t> scenes;
    for (size_t i = 0; i < pictures.size(); ++i) {
      if (pictures[i].prompt.scene) scenes.push_back(i);
    }
    for (size_t first = 0; first < scenes.size(); first += kAtOnce) {
      const size_t count = std::min(kAtOnce, scenes.size() - first);
      std::vector<Image> drawn, truth;
      for (size_t i = first; i < first + count; ++i) {
        drawn.push_back(pictures[scenes[i]].image);
        truth.push_back(world_.render(*pictures[scenes[i]].prompt.scene));
      }
      const at::Tensor likeness =
          feature_likeness(vae_, vae_pixels(drawn).to(device_), vae_pixels(truth).to(device_)).clamp(0, 1).cpu();
      for (size_t i = 0; i < count; ++i) out[scenes[first + i]] = likeness[static_cast<int64_t>(i)].item<double>();
    }
    return out;
  }

 private:
  at::Device device_;
  Vae vae_;
  world::World world_;
};

}  // namespace

at::Tensor feature_likeness(const Vae& vae, const at::Tensor& a, const at::Tensor& b) {
  const std::vector<at::Tensor> left = features_of(vae.encoder, a), right = features_of(vae.encoder, b);
  at::Tensor sum = at::zeros({a.size(0)}, a.options().dtype(at::kFloat));
  for (size_t i = 0; i < left.size(); ++i) {
    sum = sum + at::cosine_similarity(left[i].to(at::kFloat), right[i].to(at::kFloat), 1).flatten(1).mean(1);
  }
  return sum / static_cast<double>(left.size());
}

std::unique_ptr<Reward> feature_reward(const StageOptions& options, world::World world) {
  return std::make_unique<FeatureReward>(options, std::move(world));
}

}  // namespace glmimage::train::rl
