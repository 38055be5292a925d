#include <malloc.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "core/device.h"
#include "core/error.h"
#include "train/stages/assemble.h"
#include "train/stages/stages.h"

namespace glmimage::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image train vae --out runs/vae --steps 4000
  glm-image train tokenizer --out runs/tokenizer --steps 20000
  glm-image train dit --vae runs/vae/final/vae --tokenizer runs/tokenizer/final --out runs/dit --steps 20000
  glm-image train ar --tokenizer runs/tokenizer/final --out runs/ar --steps 3500
  glm-image train assemble --vae runs/vae/final --dit runs/dit/final --ar runs/ar/final --out checkpoints/mine

A run that is stopped (Ctrl-C, SIGTERM) saves its state; the same command goes on from there. 'assemble' trains nothing:
it puts the results together as a checkpoint.)";

using Stage = void (*)(const train::StageOptions&);

const std::map<std::string, Stage>& stages() {
  static const std::map<std::string, Stage> table = {{"vae", train::train_vae},
                                                     {"tokenizer", train::train_tokenizer},
                                                     {"dit", train::train_dit},
                                                     {"ar", train::train_ar}};
  return table;
}

struct TrainOptions {
  std::string stage;
  train::StageOptions stage_options;
  std::filesystem::path dit, ar;
  std::optional<std::string> preset;
  std::optional<int64_t> steps, batch, save_every;
  std::optional<double> learning_rate;
  std::optional<uint64_t> seed;
  std::vector<std::string> data, settings;
  int threads = 0;
};

// The stage's defaults, then the options, then --set.
train::TrainConfig config_of(const TrainOptions& options) {
  train::TrainConfig config = train::TrainConfig::of_stage(options.stage);
  const auto take = [](const auto& given, auto& setting) {
    if (given) setting = *given;
  };
  take(options.preset, config.preset);
  take(options.steps, config.steps);
  take(options.batch, config.batch);
  take(options.save_every, config.save_every);
  take(options.learning_rate, config.learning_rate);
  take(options.seed, config.seed);
  if (!options.data.empty()) config.data = options.data;
  const train::FieldList fields = config.fields();
  for (const std::string& assignment : options.settings) fields.set(assignment);
  config.check();
  return config;
}

int train_stage(TrainOptions options) {
  watch_interrupts(Patience::steady);
  // Steps allocate and free the same large blocks again and again: keep them instead of giving them back to the system.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  set_threads(options.threads);
  options.stage_options.config = config_of(options);
  options.stage_options.stop = &interrupted();
  stages().at(options.stage)(options.stage_options);
  return 0;
}

int assemble(const TrainOptions& options) {
  for (const auto& [name, folder] :
       {std::pair("--vae", options.stage_options.vae), {"--dit", options.dit}, {"--ar", options.ar}}) {
    if (folder.empty()) fail(ErrorKind::usage, "'assemble' needs ", name, ": the folder 'final' of that stage's run");
  }
  train::assemble_checkpoint({options.stage_options.vae, options.dit, options.ar}, options.stage_options.out);
  return 0;
}

}  // namespace

void add_train(CLI::App& app, Command& run) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train one part of a model, or an adapter of it");
  command->footer(kFooter);
  command->add_option("stage", options->stage, "vae, tokenizer, dit, ar, or assemble")
      ->required()
      ->check(CLI::IsMember({"vae", "tokenizer", "dit", "ar", "assemble"}));
  train::StageOptions& stage = options->stage_options;
  command
      ->add_option("--out", stage.out,
                   "Folder of the run; the result lands in its final/. Stage assemble: the new checkpoint")
      ->required();
  command->add_option("--data", options->data, "Source, several times for more: a folder, .jsonl, .tar, synthetic");
  command->add_option("--init", stage.init, "A checkpoint, or the final/ of a run, to go on from");
  command->add_option("--preset", options->preset, "Sizes: tiny, mini or published");
  command->add_option("--steps", options->steps, "Updates in all")->check(CLI::PositiveNumber);
  command->add_option("--batch", options->batch, "Pictures an update");
  command->add_option("--learning-rate", options->learning_rate, "Peak");
  command->add_option("--save-every", options->save_every, "Updates between saved states");
  command->add_option("--seed", options->seed, "Of weights, data and noise");
  command->add_option("--set", options->settings, "Any other setting, NAME=VALUE");
  command->add_option("--vae", stage.vae, "Folder of a trained VAE (stages dit and assemble)");
  command->add_option("--tokenizer", stage.tokenizer, "Folder of a trained visual tokenizer (stages dit and ar)");
  command->add_option("--dit", options->dit, "Folder of a trained DiT and text encoder (stage assemble)");
  command->add_option("--ar", options->ar, "Folder of a trained language model (stage assemble)");
  command->add_option("--threads", options->threads, "Processor threads; 0: one a core")->capture_default_str();
  command->callback([options, &run] {
    run = [options] { return options->stage == "assemble" ? assemble(*options) : train_stage(*options); };
  });
}

}  // namespace glmimage::cli
