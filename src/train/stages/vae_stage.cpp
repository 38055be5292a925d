#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mse_loss.h>

#include <cmath>
#include <optional>

#include "core/rng.h"
#include "models/vae/vae.h"
#include "train/data/half_size.h"
#include "train/losses/adversarial_loss.h"
#include "train/losses/discriminator.h"
#include "train/losses/vae_loss.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/export.h"
#include "train/stages/stage_data.h"
#include "train/stages/stages.h"
#include "train/stages/starting_point.h"

namespace glmimage::train {
namespace {

// Mean and standard deviation of every latent channel; the DiT works on latents so normalised. Over windows as they are
// trained on, which lie everywhere in their pictures.
void measure_latents(Vae& vae, const DataSet& data, int64_t batch_size) {
  constexpr int64_t kPictures = 256;
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> means;
  for (int64_t step = 0; step * batch_size < kPictures; ++step) {
    const DataBatch batch = data.batch(step);
    means.push_back(
        vae.encode(vae_pixels(batch.pictures).to(vae.device())).mean.transpose(0, 1).flatten(1));  // (C, B·h·w)
  }
  const at::Tensor all = at::cat(means, 1);  // (C, n)
  for (int64_t c = 0; c < all.size(0); ++c) {
    vae.config.latents_mean[static_cast<size_t>(c)] = all[c].mean().item<double>();
    vae.config.latents_std[static_cast<size_t>(c)] = all[c].std().item<double>();
  }
}

// Reconstruction of the middle of pictures the training has not seen, in dB; nothing where none are held out.
nlohmann::json held_out(const Vae& vae, const DataSet& data) {
  double squared = 0;
  int64_t count = 0;
  for (const std::vector<int64_t>& records : data.lists(DataSet::Which::held_out, 16)) {
    const DataBatch batch = data.pictures(records);
    if (batch.pictures.empty()) continue;
    const at::Tensor pixels = vae_pixels(batch.pictures).to(vae.device());
    squared += at::mse_loss(vae.decode(vae.encode(pixels).mean).clamp(-1, 1), pixels).item<double>() *
               static_cast<double>(batch.real);
    count += batch.real;
  }
  if (count == 0) return nlohmann::json::object();
  return {{"psnr", -10 * std::log10(squared / static_cast<double>(count) / 4)}};
}

// The adversarial term's other side, where there is such a term. It is trained and saved with the VAE, draws its first
// weights from numbers of its own, and is not exported.
std::optional<Discriminator> begin_discriminator(const TrainConfig& config, const DataSet& data) {
  if (config.vae.adversarial == 0) return std::nullopt;
  Discriminator out({.width = config.vae.discriminator_width, .depth = config.vae.discriminator_depth});
  for (int64_t record = 0; record < data.size(); ++record) {
    const Bucket& bucket = data.shapes(record).front();
    out.check_room(bucket.height, bucket.width);
  }
  ParameterList list;
  out.list(list);
  init_parameters(list, make_generator(derive_seed(config.seed, Stream::init, 1)));
  return out;
}

// Both sides in the one loss that is propagated back: no gradient of the one reaches the weights of the other.
void add_adversarial(Pass& pass, const AdversarialLosses& losses, double weight) {
  pass.loss = pass.loss + weight * losses.generator + losses.discriminator;
  pass.values["adversarial"] = losses.generator.item<double>();
  pass.values["discriminator"] = losses.discriminator.item<double>();
  pass.values["real_told"] = losses.real_told;
  pass.values["decoded_told"] = losses.decoded_told;
}

}  // namespace

void train_vae(const StageOptions& options) {
  const Beginning beginning = begin_run("vae", options);
  const TrainConfig& config = options.config;
  const Preset preset = starting_preset(options);
  const DataSet data = open_data(options, beginning, preset,
                                 {.area = preset.picture_size / 2, .synthetic = 8 * preset.synthetic_pictures});
  Vae vae(preset.vae);
  ParameterList trained;
  vae.list(trained);
  if (options.init.empty()) {
    init_parameters(trained, make_generator(derive_seed(config.seed, Stream::init, 0)));
  } else {
    load_to_train(trained, init_part(options.init, "vae"));
  }
  std::optional<Discriminator> discriminator = begin_discriminator(config, data);
  if (discriminator) discriminator->list(trained);

  Run run(options, beginning, {.trained = trained, .held_out = [&] { return held_out(vae, data); }});
  auto batches =
      run.prefetch<at::Tensor>([&](int64_t pass) { return vae_pixels(without_padding(data.batch(pass)).pictures); });
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t pass) -> Pass {
      const at::Tensor pixels = batches.next().to(options.device);  // (B, 3, side, side)
      at::Generator noise = make_generator(derive_seed(config.seed, Stream::noise, static_cast<uint64_t>(pass)));
      const VaeLosses losses = vae_losses(vae, pixels, noise, config.vae);
      Pass out{.loss = losses.total,
               .values = {{"l1", losses.l1.item<double>()},
                          {"kl", losses.kl.item<double>()},
                          {"psnr", losses.psnr},
                          {"wait", batches.wait_share()}},
               .weight = static_cast<double>(pixels.size(0))};
      if (discriminator && step >= config.vae.adversarial_from) {
        add_adversarial(out, adversarial_losses(*discriminator, pixels, losses.decoded), config.vae.adversarial);
      }
      return out;
    }));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  measure_latents(vae, data, config.batch);
  run.note_held_out();
  finish_data(options, data);
  if (options.first()) export_model(options.out / "final" / "vae", vae.config.to_json(), vae);
}

}  // namespace glmimage::train
