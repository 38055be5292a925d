#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>

#include <map>

#include "core/autocast.h"
#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "train/random.h"
#include "train/rl/advantages.h"
#include "train/rl/rl_stages.h"
#include "train/rl/sequence_policy.h"
#include "train/run.h"
#include "train/stages/ar_sequences.h"
#include "train/stages/language_model.h"
#include "train/stages/starting_point.h"
#include "train/stages/text_prior.h"

namespace glmimage::train::rl {
namespace fs = std::filesystem;

namespace {

// What the language model wrote for a chunk's pictures.
struct Written {
  SequenceBatch sequences;     // on the run's device; the end id, which nobody draws, is no target
  at::Tensor log_p;            // (n), of the policy that wrote
  at::Tensor reference_log_p;  // (n); undefined where rl.kl is 0
};

// Each picture of a chunk by itself, as in drawing.
EncodedBatch write(const ArModel& model, const ChatTemplate& chat, Chunk& chunk, Grid grid, const TrainConfig& config) {
  const Autocast none(model.lm_head.weight.device(), std::nullopt);
  const SamplerOptions sampling{.temperature = config.grpo_ar.temperature, .top_p = config.grpo_ar.top_p, .top_k = 0};
  std::vector<at::Tensor> target, draft;
  EncodedBatch batch;
  batch.captions = chunk.captions;
  for (size_t i = 0; i < chunk.captions.size(); ++i) {
    const uint64_t number = (uint64_t{2} << 40) + static_cast<uint64_t>(chunk.pass * chunk.size()) + i;
    at::Generator random = make_generator(derive_seed(config.seed, Stream::rollout, number));
    const PriorResult drawn =
        run_prior(model, text_prior(model.config, chat, sampling, chunk.captions[i], grid), random);
    target.push_back(drawn.target.ids);
    draft.push_back(drawn.draft->ids);
    batch.draft_grid = drawn.draft->grid;
  }
  batch.target = {.grid = grid, .ids = at::cat(target), .latents = {}};
  batch.draft_ids = at::cat(draft);
  return batch;
}

SequenceBatch without_ends(SequenceBatch batch, int64_t end_id) {
  batch.targets = batch.targets.masked_fill(batch.targets == end_id, -100);
  batch.weights = at::Tensor();
  return batch;
}

Pass learn(const ArModel& model, const Chunk& chunk, const Written& written, const TrainConfig& config, Update update) {
  const TokenLogProbabilities now = token_log_probabilities(model, written.sequences, activations_of(config));
  const at::Tensor ratio = (now.values - written.log_p).exp();  // (n)
  if (update == Update::first_of_rollout) expect_on_policy(ratio);
  const Clipped clipped = clipped_objective(ratio, chunk.advantages.index_select(0, now.rows), config.grpo_ar.clip);
  Pass pass{.loss = clipped.loss.mean(),
            .values = {{"ratio", ratio.detach().mean().item<double>()},
                       {"clip_share", clipped.share},
                       {"log_p", now.values.detach().mean().item<double>()}},
            .weight = 1};
  if (written.reference_log_p.defined()) {
    const at::Tensor kl = divergence(now.values, written.reference_log_p);
    pass.values["kl"] = kl.item<double>();
    pass.loss = pass.loss + config.rl.kl * kl;
  }
  return pass;
}

}  // namespace

void train_grpo_ar(const StageOptions& options, RlParts parts) {
  if (options.init.empty()) fail(ErrorKind::usage, "stage grpo-ar improves a checkpoint: --init DIR");
  const Beginning beginning = begin_run("grpo-ar", options);
  const TrainConfig& config = options.config;
  const Preset preset = starting_preset(options);
  const Painter painter(options, preset);
  const Foundations foundations = painted_foundations(options);
  check_foundations(beginning, foundations);

  const std::unique_ptr<StartedLanguageModel> started = open_language_model(options, preset);
  ArModel& model = started->model;
  const FlowModel flow{DitModel::open(init_part(options.init, "transformer"), frozen_placement(options)),
                       GlyphEncoder::open(init_part(options.init, "text_encoder"), frozen_placement(options))};
  std::optional<ArModel> reference;
  if (config.rl.kl > 0) {
    reference = ArModel::open(init_part(options.init, "vision_language_encoder"), frozen_placement(options));
  }
  const Rollouts rollouts(options, parts, painter);
  const auto draw = [&](Chunk& chunk) {
    const EncodedBatch batch = write(model, started->chat, chunk, painter.grid(), config);
    chunk.tokens = {painter.grid(), batch.target.ids.to(options.device)};
    chunk.latents = painter.paint(flow, chunk);
    return batch;
  };
  std::map<int64_t, Written> written;  // by the pass that learns from it
  const auto draw_and_keep = [&](Chunk& chunk) {
    const EncodedBatch batch = draw(chunk);
    Written& kept = written[chunk.pass];
    kept.sequences = without_ends(make_sequences(model.config, started->chat, batch, 1), model.config.end_image_id)
                         .to(options.device);
    const Autocast precision(options.device, arithmetic_of(config));
    if (reference) kept.reference_log_p = token_log_probabilities(*reference, kept.sequences).values;
    at::AutoGradMode grad(true);  // learning runs the same kernels then, to the bit
    kept.log_p = token_log_probabilities(model, kept.sequences).values.detach();
  };
  Run run(options, beginning, {.trained = started->trained, .foundations = foundations, .held_out = [&] {
                                 return rollouts.held_out([&](Chunk& chunk) { draw(chunk); });
                               }});
  for (int64_t step = run.first_step(); run.running(step); step += config.rl.updates) {
    written.clear();
    const std::optional<Rollout> rollout = rollouts.make(step, draw_and_keep);
    if (!rollout) {
      run.running(step);  // stopped: saves
      break;
    }
    for (int64_t update = 0; update < config.rl.updates; ++update) {
      nlohmann::json values = run.update(step + update, [&](int64_t number) {
        return learn(model, rollout->of_pass(number), written.at(number), config,
                     update == 0 ? Update::first_of_rollout : Update::later);
      });
      values.update(rollout->values);
      run.log(step + update, std::move(values));
    }
    run.finish_step(step + config.rl.updates - 1);
  }
  if (run.stopping()) return;
  run.apply_ema();
  if (parts.prompts->held_out(0)) run.note_held_out();
  const fs::path tokenizer = tokenizer_folder(options);
  export_started_model(options, model, VisualTokenizerConfig::from_json(JsonObject::open(tokenizer / "config.json")),
                       tokenizer);
}

}  // namespace glmimage::train::rl
