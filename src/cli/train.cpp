#include <malloc.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

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
  glm-image train tokenizer --out runs/tokenizer --steps 7000
  glm-image train dit --vae runs/vae/final/vae --tokenizer runs/tokenizer/final --out runs/dit --steps 4000
  glm-image train ar --tokenizer runs/tokenizer/final --out runs/ar --steps 1800
  glm-image train assemble --vae runs/vae/final --dit runs/dit/final --ar runs/ar/final --out checkpoints/mine

A run that is stopped (Ctrl-C, SIGTERM) saves its state; the same command goes on from there. 'assemble' trains nothing:
it puts the results together as a checkpoint.)";

struct Stage {
  void (*train)(const train::StageOptions&);
  double learning_rate;
  int64_t batch;
  double ema_decay;
};

const std::map<std::string, Stage>& stages() {
  static const std::map<std::string, Stage> table = {{"vae", {train::train_vae, 1e-3, 8, 0.998}},
                                                     {"tokenizer", {train::train_tokenizer, 1e-3, 64, 0.998}},
                                                     {"dit", {train::train_dit, 1e-3, 32, 0.999}},
                                                     {"ar", {train::train_ar, 2e-3, 64, 0.998}}};
  return table;
}

struct TrainOptions {
  std::string stage;
  train::StageOptions stage_options;
  std::filesystem::path dit, ar;
  double learning_rate = 0;
  int64_t batch = 0;
  int threads = 0;
};

int train_stage(TrainOptions options) {
  watch_interrupts(Patience::steady);
  // Steps allocate and free the same large blocks again and again: keep them instead of giving them back to the system.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  set_threads(options.threads);
  const Stage& stage = stages().at(options.stage);
  train::RunOptions& run = options.stage_options.run;
  run.stop = &interrupted();
  run.learning_rate = options.learning_rate > 0 ? options.learning_rate : stage.learning_rate;
  run.batch = options.batch > 0 ? options.batch : stage.batch;
  run.ema_decay = stage.ema_decay;
  stage.train(options.stage_options);
  return 0;
}

int assemble(const TrainOptions& options) {
  for (const auto& [name, folder] :
       {std::pair("--vae", options.stage_options.vae), {"--dit", options.dit}, {"--ar", options.ar}}) {
    if (folder.empty()) fail(ErrorKind::usage, "'assemble' needs ", name, ": the folder 'final' of that stage's run");
  }
  train::assemble_checkpoint({options.stage_options.vae, options.dit, options.ar}, options.stage_options.run.out);
  return 0;
}

}  // namespace

void add_train(CLI::App& app, Command& run) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train one part of a model from scratch on the synthetic world");
  command->footer(kFooter);
  command->add_option("stage", options->stage, "vae, tokenizer, dit, ar, or assemble")
      ->required()
      ->check(CLI::IsMember({"vae", "tokenizer", "dit", "ar", "assemble"}));
  train::StageOptions& stage = options->stage_options;
  command
      ->add_option("--out", stage.run.out,
                   "Folder of the run; the result lands in its final/. Stage assemble: the new checkpoint")
      ->required();
  command->add_option("--preset", stage.preset, "Sizes: tiny or mini")->capture_default_str();
  command->add_option("--steps", stage.run.steps, "Updates in all")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--batch", options->batch, "Pictures an update; 0: the stage's own");
  command->add_option("--learning-rate", options->learning_rate, "Peak; 0: the stage's own");
  command->add_option("--save-every", stage.run.save_every, "Updates between saved states")->capture_default_str();
  command->add_option("--seed", stage.run.seed, "Of weights, data and noise")->capture_default_str();
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
