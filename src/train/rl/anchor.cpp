#include "train/rl/anchor.h"

#include <ATen/TensorOperators.h>

#include "core/rng.h"
#include "train/random.h"
#include "train/stages/starting_point.h"

namespace glmimage::train::rl {

Anchor::Anchor(const StageOptions& options, const Beginning& beginning, const Preset& preset) : options_(options) {
  if (options.config.rl.anchor == 0) return;
  data_.emplace(
      open_data(options, beginning, preset, {.area = preset.picture_size, .synthetic = preset.synthetic_pictures}));
  encoded_.emplace(
      *data_,
      std::make_unique<TokenEncoder>(tokenizer_folder(options), preset.preprocess, preset.draft_size, options.device),
      std::make_unique<LatentEncoder>(vae_folder(options), options.device), encoded_options(options));
}

void Anchor::begin(const Run& run) {
  if (!encoded_) return;
  batches_.reset(
      new Prefetch<EncodedBatch>(run.prefetch<EncodedBatch>([this](int64_t pass) { return encoded_->batch(pass); })));
}

void Anchor::add_to(Pass& pass, const FlowModel& model, int64_t number) {
  if (!batches_) return;
  const TrainConfig& config = options_.config;
  const uint64_t seed = derive_seed(config.seed, Stream::noise, (uint64_t{1} << 40) + static_cast<uint64_t>(number));
  const at::Tensor loss =
      flow_loss(model, batches_->next().to(options_.device), config.dit, make_generator(seed), activations_of(config));
  pass.values["anchor"] = loss.item<double>();
  pass.loss = pass.loss + config.rl.anchor * loss;
}

}  // namespace glmimage::train::rl
