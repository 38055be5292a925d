#include "core/error.h"
#include "core/rng.h"
#include "train/distributed/sequence_parallel.h"
#include "train/losses/flow_loss.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/dit_samples.h"
#include "train/stages/flow_model.h"
#include "train/stages/stage_data.h"
#include "train/stages/stages.h"
#include "train/stages/starting_point.h"

namespace glmimage::train {
namespace {

void check_fit(const TokenEncoder& tokens, const LatentEncoder& latents, const DitConfig& dit) {
  const auto agree = [](const char* what, int64_t part, int64_t transformer) {
    if (part != transformer) {
      fail(ErrorKind::usage, what, ": ", part, ", and the transformer's: ", transformer, "; of two presets?");
    }
  };
  agree("codes of the tokenizer", tokens.config().vq.codes, dit.codes);
  agree("latent channels of the VAE", latents.config().latent_channels, dit.in_channels);
}

// Reference pictures go through the transformer before the picture, and zero3 wants all processes to run the same
// layers in the same order.
void check_references(const StageOptions& options, const DataSet& data) {
  if (!options.group || options.config.distributed.sharding != Sharding::zero3) return;
  for (int64_t record = 1; record < data.size(); ++record) {
    if (data.shapes(record).size() == data.shapes(0).size()) continue;
    fail(ErrorKind::usage, "distributed.sharding=zero3 needs pictures with equally many references, and this data has ",
         data.shapes(0).size() - 1, " and ", data.shapes(record).size() - 1,
         ": train them apart, or with distributed.sharding=zero2");
  }
}

}  // namespace

void train_dit(const StageOptions& options) {
  const Beginning beginning = begin_run("dit", options);
  const TrainConfig& config = options.config;
  const Preset preset = starting_preset(options);
  DataSet data =
      open_data(options, beginning, preset, {.area = preset.picture_size, .synthetic = preset.synthetic_pictures});
  auto tokens =
      std::make_unique<TokenEncoder>(tokenizer_folder(options), preset.preprocess, preset.draft_size, options.device);
  auto latents = std::make_unique<LatentEncoder>(vae_folder(options), options.device);
  const LatentEncoder& vae = *latents;
  check_fit(*tokens, *latents, preset.dit);
  const Foundations foundations =
      foundations_of(options, "transformer", {{"tokenizer", tokens->key()}, {"vae", vae.key()}});
  check_foundations(beginning, foundations);
  check_references(options, data);
  const std::unique_ptr<SequenceGroup> sequence = share_sequences(options.group, config.distributed.sequence_parallel,
                                                                  {preset.dit.heads, preset.dit.heads, "transformer"});
  const std::unique_ptr<StartedFlowModel> started = start_flow_model(options, preset);
  started->model.dit.sequence = sequence.get();
  const EncodedData encoded(data, std::move(tokens), std::move(latents), encoded_options(options));
  if (!everywhere(options, encoded.complete())) return;

  const auto pass_of = [&](const EncodedBatch& batch, uint64_t noise_seed) -> Pass {
    return {.loss = flow_loss(started->model, batch.to(options.device), config.dit, make_generator(noise_seed),
                              activations_of(config)),
            .weight = static_cast<double>(batch.size())};
  };
  // The same noise every time, so that two measurements compare.
  const auto held_out = [&] {
    uint64_t list = 0;
    return held_out_loss(data, encoded, [&](const EncodedBatch& batch) {
      return pass_of(batch, derive_seed(config.seed, Stream::held_out, list++));
    });
  };
  std::optional<DitSamples> samples;
  if (config.sample_every > 0) samples.emplace(options, preset, data, encoded, vae);
  Run run(options, beginning,
          {.trained = started->trained,
           .foundations = foundations,
           .stacks = {{"transformer_blocks", &started->model.dit.listener}},
           .held_out = held_out,
           .samples = [&] { return samples->draw(started->model); }});
  auto batches = run.prefetch<EncodedBatch>([&](int64_t pass) { return encoded.batch(pass); });
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t number) -> Pass {
      Pass pass = pass_of(batches.next(), derive_seed(config.seed, Stream::noise, static_cast<uint64_t>(number)));
      pass.values = {{"wait", batches.wait_share()}};
      return pass;
    }));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  run.note_held_out();
  finish_data(options, data);
  if (options.first()) export_flow_model(options, started->model);
}

}  // namespace glmimage::train
