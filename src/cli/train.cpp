#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/train_rewards.h"
#include "cli/train_settings.h"
#include "core/device.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/memory.h"
#include "core/threads.h"
#include "train/distributed/process_group.h"
#include "train/rl/rl_stages.h"
#include "train/stages/assemble.h"
#include "train/stages/stages.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFooter = R"(Examples:
  glm-image train vae --out runs/vae --steps 4000
  glm-image train tokenizer --out runs/tokenizer --steps 7000
  glm-image train dit --vae runs/vae/final/vae --tokenizer runs/tokenizer/final --out runs/dit --steps 4000
  glm-image train ar --tokenizer runs/tokenizer/final --out runs/ar --steps 1800 --batch 16 --set accumulate=4
  glm-image train assemble --vae runs/vae/final --dit runs/dit/final --ar runs/ar/final --out checkpoints/mine

  glm-image train nft --init checkpoints/mini --reward word=1,object=0.5 --out runs/nft --steps 200
  glm-image train flow-grpo --init checkpoints/mini --reward process --set rl.process='python3 reward.py' --out …

  glm-image train dit --init checkpoints/mini --data photos --set lora.rank=16 --out runs/style --steps 500
  glm-image train dit --list-settings
  glm-image train dit --config runs/dit/config.json --set precision=bfloat16 --set recompute=true --out runs/dit-2 …
  glm-image train ar --resume runs/ar --out runs/ar-long --steps 7000 …

  torchrun --no-python --nproc-per-node 4 glm-image train dit … --set accumulate=4 --set distributed.sharding=zero2

A run that is stopped (Ctrl-C, SIGTERM, a power cut) goes on with the same command. 'assemble' trains nothing: it puts
the results together as a checkpoint. Settings come from the stage's defaults, then --config, then --set and flags.)";

using TrainStage = void (*)(const train::StageOptions&);

template <void (*stage)(const train::StageOptions&, train::rl::RlParts)>
void by_rewards(const train::StageOptions& options) {
  stage(options, rl_parts(options));
}

const std::map<std::string, TrainStage>& stages() {
  static const std::map<std::string, TrainStage> table = {{"vae", train::train_vae},
                                                          {"tokenizer", train::train_tokenizer},
                                                          {"dit", train::train_dit},
                                                          {"ar", train::train_ar},
                                                          {"nft", by_rewards<train::rl::train_nft>},
                                                          {"flow-grpo", by_rewards<train::rl::train_flow_grpo>},
                                                          {"grpo-ar", by_rewards<train::rl::train_grpo_ar>}};
  return table;
}

// The settings that have a flag of their own.
const std::vector<std::pair<const char*, const char*>>& setting_flags() {
  static const std::vector<std::pair<const char*, const char*>> table = {
      {"preset", "Sizes of a model trained from nothing: tiny, mini or published"},
      {"steps", "Updates in all"},
      {"batch", "Pictures of one pass; an update has 'accumulate' passes"},
      {"learning_rate", "Peak of the learning rate"},
      {"save_every", "Updates between saved states; 0: at the end alone"},
      {"seed", "Of weights, data and noise"},
      {"rl.reward", "What pictures are judged by: NAME=WEIGHT,… (stages nft, flow-grpo and grpo-ar)"}};
  return table;
}

struct TrainCommand {
  std::string stage;
  SettingFlags settings;
  fs::path out, init, vae, tokenizer, dit, ar;
  std::string resume = "auto", device = "cpu";
  int threads = 0;
  bool list_settings = false;
};

// What the stage would not read is a misunderstanding, not a wish to be passed over.
void refuse_unread(const TrainCommand& command) {
  const bool assembles = command.stage == "assemble",
             later = command.stage != "vae" && command.stage != "tokenizer" && !assembles;
  const auto refuse = [&](const char* flag, bool given) {
    if (given) fail(ErrorKind::usage, "stage ", command.stage, " does not read ", flag);
  };
  refuse("--dit", !assembles && !command.dit.empty());
  refuse("--ar", !assembles && !command.ar.empty());
  refuse("--vae", !assembles && !later && !command.vae.empty());
  refuse("--tokenizer", !later && !command.tokenizer.empty());
  if (!assembles) return;
  const SettingFlags& given = command.settings;
  refuse("--config", !given.config.empty());
  refuse("--set", !given.assignments.empty());
  refuse("--data", !given.data.empty());
  refuse("--init", !command.init.empty());
  refuse("--resume", command.resume != "auto");
  refuse("--device", command.device != "cpu");
  for (const auto& [setting, value] : given.values) refuse(flag_of(setting).c_str(), true);
}

bool reads(const std::string& stage, const std::string& setting) {
  // Sections that not all stages read.
  static const std::map<std::string, std::set<std::string>> readers = {
      {"vae", {"vae"}},
      {"tokenizer", {"tokenizer"}},
      {"ar", {"ar"}},
      {"dit", {"dit", "nft", "flow-grpo"}},
      {"lora", {"dit", "ar", "nft", "flow-grpo", "grpo-ar"}},
      {"rl", {"nft", "flow-grpo", "grpo-ar"}},
      {"nft", {"nft"}},
      {"flow_grpo", {"flow-grpo"}},
      {"grpo_ar", {"grpo-ar"}}};
  if (setting == "prompts") return stage == "dit";
  if (setting == "cache") return stage != "vae" && stage != "tokenizer";
  const auto section = readers.find(setting.substr(0, setting.find('.')));
  return section == readers.end() || section->second.contains(stage);
}

// The same of settings: those of another stage, like dit.drop in stage ar.
void refuse_unread_settings(train::TrainConfig config) {
  train::TrainConfig defaults = train::TrainConfig::of_stage(config.stage);
  const train::FieldList given = config.fields(), usual = defaults.fields();
  for (size_t i = 0; i < given.fields().size(); ++i) {
    const train::Field& field = given.fields()[i];
    if (reads(config.stage, field.name) || field.get() == usual.fields()[i].get()) continue;
    fail(ErrorKind::usage, "'", field.name, "' is ", field.get().dump(), ", and stage ", config.stage,
         " does not read it");
  }
}

train::Resume parse_resume(const std::string& text) {
  if (text == "auto") return {};
  if (text == "never") return {.from = train::Resume::From::never};
  if (!fs::is_directory(text)) {
    fail(ErrorKind::usage, "--resume ", text, ": expected auto, never, a run's folder or one of its saved states");
  }
  return {.from = train::Resume::From::folder, .folder = text};
}

// The processes of one machine share its cores, unless they were told how many threads to use.
int threads_of(const TrainCommand& command, const std::optional<Launch>& launch) {
  const bool told = command.threads != 0 || std::getenv("OMP_NUM_THREADS");
  if (!launch || told) return command.threads;
  return std::max(1, default_threads() / static_cast<int>(launch->local_size));
}

std::shared_ptr<train::ProcessGroup> group_of(const std::optional<Launch>& launch, const train::StageOptions& options) {
  if (!launch) return nullptr;
  const double seconds = options.config.distributed.timeout;
  return train::ProcessGroup::open(
      *launch, {.device = options.device, .timeout = std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds))});
}

int train_stage(const TrainCommand& command) {
  train::StageOptions options{.config = settings_of(command.stage, command.settings),
                              .out = command.out,
                              .init = command.init,
                              .vae = command.vae,
                              .tokenizer = command.tokenizer,
                              .resume = parse_resume(command.resume),
                              .stop = &interrupted()};
  refuse_unread_settings(options.config);
  watch_interrupts(Patience::steady);
  keep_freed_memory();
  const std::optional<Launch> launch = launch_from_environment();
  set_threads(threads_of(command, launch));
  options.device = open_device(parse_device(device_of_rank(command.device, launch)));
  options.group = group_of(launch, options);
  stages().at(command.stage)(options);
  if (options.group) options.group->agree("", "the others to finish");  // rank 0 keeps the place where they meet
  return 0;
}

int assemble(const TrainCommand& command) {
  for (const auto& [name, folder] : {std::pair("--vae", command.vae), {"--dit", command.dit}, {"--ar", command.ar}}) {
    if (folder.empty()) fail(ErrorKind::usage, "'assemble' needs ", name, ": the folder 'final' of that stage's run");
  }
  train::assemble_checkpoint({command.vae, command.dit, command.ar}, command.out);
  return 0;
}

int run_command(const TrainCommand& command) {
  if (command.list_settings) {
    const bool of_stage = stages().contains(command.stage);
    std::fputs(list_settings(of_stage ? command.stage : "dit").c_str(), stdout);
    return 0;
  }
  if (command.stage.empty())
    fail(ErrorKind::usage, "which stage: vae, tokenizer, dit, ar, nft, flow-grpo, grpo-ar or assemble? (see --help)");
  if (command.out.empty()) fail(ErrorKind::usage, "--out is missing: the folder of the run");
  refuse_unread(command);
  return command.stage == "assemble" ? assemble(command) : train_stage(command);
}

void add_setting_flags(CLI::App& app, SettingFlags& settings) {
  for (const auto& [setting, help] : setting_flags()) {
    app.add_option_function<std::string>(
        flag_of(setting), [&settings, setting](const std::string& value) { settings.values[setting] = value; }, help);
  }
  app.add_option("--config", settings.config, "JSON file of settings, like a run's config.json");
  app.add_option("--set", settings.assignments, "NAME=VALUE: one setting; give it again for another")
      ->allow_extra_args(false);
  app.add_option("--data", settings.data,
                 "Source of pictures: a folder, a .jsonl list, .tar shards, 'synthetic'; @WEIGHT for a mix")
      ->allow_extra_args(false);
}

}  // namespace

void add_train(CLI::App& app, Command& run) {
  auto options = std::make_shared<TrainCommand>();
  CLI::App* command = app.add_subcommand("train", "Train one part of a model, or an adapter of it");
  command->footer(kFooter);
  command->add_option("stage", options->stage, "vae, tokenizer, dit, ar, nft, flow-grpo, grpo-ar, or assemble")
      ->check(CLI::IsMember({"vae", "tokenizer", "dit", "ar", "nft", "flow-grpo", "grpo-ar", "assemble"}));
  command->add_option("--out", options->out,
                      "Folder of the run; the result lands in its final/. Stage assemble: the new checkpoint");
  add_setting_flags(*command, options->settings);
  command->add_flag("--list-settings", options->list_settings, "Name all settings with their defaults, and leave");
  command
      ->add_option("--resume", options->resume,
                   "auto: go on from the newest state in --out; never: start over; or the folder of a run or a state")
      ->capture_default_str();
  command->add_option("--init", options->init, "A checkpoint, or the final/ of a run of this stage, to go on from");
  command->add_option("--vae", options->vae,
                      "Folder of a trained VAE (stages dit and assemble); default: that of --init");
  command->add_option("--tokenizer", options->tokenizer,
                      "Folder of a trained visual tokenizer (stages dit and ar); default: that of --init");
  command->add_option("--dit", options->dit, "Folder of a trained DiT and text encoder (stage assemble)");
  command->add_option("--ar", options->ar, "Folder of a trained language model (stage assemble)");
  command->add_option("--device", options->device, "cpu, cuda, cuda:N, npu or npu:N")->capture_default_str();
  command->add_option("--threads", options->threads, "Processor threads; 0: one a core")->capture_default_str();
  command->callback([options, &run] { run = [options] { return run_command(*options); }; });
}

}  // namespace glmimage::cli
