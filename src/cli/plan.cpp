#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/human_bytes.h"
#include "core/error.h"
#include "hub/pulled.h"
#include "train/plan/plan.h"
#include "train/stages/starting_point.h"

namespace glmimage::cli {
namespace {

using nlohmann::json;
using train::Plan;
using train::PlanOptions;

constexpr const char* kFooter = R"(Examples:
  glm-image plan --stage dit --devices 64 --device ascend910b --sharding zero1 --recompute
  glm-image plan --stage ar --devices 512 --device h200 --sharding zero3 --global-batch 1024 --pictures 10000000
  glm-image plan --stage dit --devices 8 --device h200 --width 2048 --height 2048 --sequence-parallel 8 --sharding zero3
  glm-image plan --stage dit --model checkpoints/mini --device cpu --precision float32 --micro-batch 32

A plan that does not fit ends with exit code 5 and says what would. Formulas and figures: docs/scaling.md)";

struct PlanCommand {
  PlanOptions options;
  std::string preset = "published", model, device = "ascend910b", sharding = "none", precision = "bfloat16";
  std::optional<int64_t> width, height;
  bool no_average = false, as_json = false;
  double pictures = 0;
};

// Sizes come from the preset, or from the configurations of a checkpoint.
PlanOptions options_of(const PlanCommand& command) {
  PlanOptions out = command.options;
  train::StageOptions start;
  start.config = train::TrainConfig::of_stage(out.stage);
  start.config.preset = command.preset;
  if (!command.model.empty()) start.init = hub::find_model(command.model);
  out.preset = train::starting_preset(start);
  const int64_t usual = out.stage == "vae" ? out.preset.picture_size / 2 : out.preset.picture_size;
  out.sample.width = command.width.value_or(usual);
  out.sample.height = command.height.value_or(usual);
  out.device = train::find_device_figures(command.device);
  out.sharding = train::parse_sharding(command.sharding);
  if (command.precision != "float32" && command.precision != "bfloat16") {
    fail(ErrorKind::usage, "--precision ", command.precision, ": expected float32 or bfloat16");
  }
  out.precision = command.precision == "float32" ? train::Precision::float32 : train::Precision::bfloat16;
  out.average = !command.no_average;
  if (!(command.pictures >= 0 && command.pictures <= 1e15)) {
    fail(ErrorKind::usage, "--pictures ", command.pictures, ": expected 0 to 1e15");
  }
  return out;
}

json to_json(const PlanCommand& command, const PlanOptions& o, const Plan& p) {
  json out = {{"stage", o.stage},
              {"device", o.device.name},
              {"devices", o.devices},
              {"sharding", train::sharding_name(o.sharding)},
              {"sequence_parallel", o.sequence_parallel},
              {"recompute", o.recompute},
              {"precision", command.precision},
              {"width", o.sample.width},
              {"height", o.sample.height},
              {"micro_batch", o.micro_batch},
              {"global_batch", p.global_batch},
              {"passes", p.passes},
              {"parameters", p.cost.parameters},
              {"tokens_per_picture", p.cost.tokens},
              {"flops_per_picture", p.cost.step_flops(o.recompute)},
              {"memory",
               {{"weights", p.memory.weights},
                {"gradients", p.memory.gradients},
                {"moments", p.memory.moments},
                {"average", p.memory.average},
                {"copies", p.memory.copies},
                {"exchange", p.memory.exchange},
                {"activations", p.memory.activations},
                {"total", p.memory.total()},
                {"limit", p.memory.limit},
                {"fits", p.memory.fits()}}},
              {"sent_bytes_per_step", p.sent_bytes},
              {"seconds",
               {{"compute", p.time.compute},
                {"network", p.time.network},
                {"exposed_network", p.time.exposed},
                {"optimiser", p.time.optimiser},
                {"step", p.time.step()}}},
              {"pictures_per_second", p.samples_per_second},
              {"tokens_per_second", p.tokens_per_second},
              {"mfu", p.mfu},
              {"assumed",
               {{"utilisation", o.utilisation},
                {"network_share", o.network_share},
                {"memory_share", o.memory_share},
                {"figures", o.device.source}}}};
  if (command.pictures > 0) {
    out["pictures"] = command.pictures;
    out["seconds_for_pictures"] = command.pictures / p.samples_per_second;
  }
  return out;
}

std::string duration(double seconds) {
  char text[48];
  if (seconds < 120) {
    std::snprintf(text, sizeof text, "%.3g s", seconds);
  } else if (seconds < 2 * 86400) {
    std::snprintf(text, sizeof text, "%.1f hours", seconds / 3600);
  } else {
    std::snprintf(text, sizeof text, "%.1f days", seconds / 86400);
  }
  return text;
}

void print_row(const char* name, const std::string& value) { std::printf("  %-22s %s\n", name, value.c_str()); }

std::string rounded(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void print_memory(const train::PlannedMemory& m) {
  std::printf("memory of a device\n");
  print_row("weights", human_bytes(m.weights));
  print_row("gradients", human_bytes(m.gradients));
  print_row("moments", human_bytes(m.moments));
  print_row("average", human_bytes(m.average));
  print_row("copies", human_bytes(m.copies));
  print_row("exchange", human_bytes(m.exchange));
  print_row("activations", human_bytes(m.activations));
  print_row("total", concat(human_bytes(m.total()), " of ", human_bytes(m.limit)));
}

void print_plan(const PlanCommand& command, const PlanOptions& o, const Plan& p) {
  std::printf("stage %s, %lld x %lld, on %lld x %s, sharding %s%s%s, %s\n", o.stage.c_str(),
              static_cast<long long>(o.sample.width), static_cast<long long>(o.sample.height),
              static_cast<long long>(o.devices), o.device.name.c_str(), train::sharding_name(o.sharding),
              o.recompute ? ", recomputed layers" : "",
              o.sequence_parallel > 1 ? concat(", sequences over ", o.sequence_parallel).c_str() : "",
              command.precision.c_str());
  print_row("parameters", rounded("%.3f G", static_cast<double>(p.cost.parameters) / 1e9));
  print_row("tokens a picture", std::to_string(p.cost.tokens));
  print_row("computed a picture", rounded("%.1f TFLOP", p.cost.step_flops(o.recompute) / 1e12));
  print_row("pictures a step",
            concat(p.global_batch, " in ", p.passes, " passes of ", o.micro_batch, " on each device or group"));
  print_memory(p.memory);
  std::printf("a step\n");
  print_row("computing", duration(p.time.compute));
  print_row("sent by a device", human_bytes(p.sent_bytes));
  print_row("network", concat(duration(p.time.network), ", not hidden ", duration(p.time.exposed)));
  print_row("optimiser", duration(p.time.optimiser));
  print_row("in all", duration(p.time.step()));
  std::printf("speed\n");
  print_row("pictures a second", rounded("%.4g", p.samples_per_second));
  print_row("tokens a second", rounded("%.4g", p.tokens_per_second));
  print_row("MFU", rounded("%.1f %%", 100 * p.mfu));
  if (command.pictures > 0) {
    print_row(rounded("%.4g pictures", command.pictures).c_str(), duration(command.pictures / p.samples_per_second));
  }
  std::printf("assumed: %.0f %% of the peak, %.0f %% of the links, figures: %s\n", 100 * o.utilisation,
              100 * o.network_share, o.device.source.c_str());
}

int plan(const PlanCommand& command) {
  const PlanOptions options = options_of(command);
  const Plan made = train::make_plan(options);
  if (!made.memory.fits()) {
    std::string ways;
    for (const std::string& each : train::what_would_fit(options)) ways += (ways.empty() ? "" : ", or ") + each;
    if (!command.as_json) print_memory(made.memory);
    fail(ErrorKind::out_of_memory, "does not fit: a device needs ", human_bytes(made.memory.total()), " of the ",
         human_bytes(made.memory.limit), " it offers; ",
         ways.empty() ? "no number of devices up to 4,096 helps: take smaller pictures" : "would fit: " + ways);
  }
  if (command.as_json) {
    std::printf("%s\n", to_json(command, options, made).dump(2).c_str());
  } else {
    print_plan(command, options, made);
  }
  return 0;
}

void add_sizes(CLI::App& app, PlanCommand& command) {
  app.add_option("--stage", command.options.stage, "vae, tokenizer, dit or ar")->capture_default_str();
  CLI::Option* preset = app.add_option("--preset", command.preset, "tiny, mini or published")->capture_default_str();
  app.add_option("-m,--model", command.model, "Sizes of this checkpoint instead; only its configurations are read")
      ->excludes(preset);
  app.add_option("--width", command.width, "Pixels; default: the preset's picture size, half of it for vae");
  app.add_option("--height", command.height, "Pixels");
  app.add_option("--text-tokens", command.options.sample.text_tokens, "Of a caption; stage ar")->capture_default_str();
  app.add_option("--glyph-tokens", command.options.sample.glyph_tokens, "Of a picture's quoted strings; stage dit")
      ->capture_default_str();
}

void add_run(CLI::App& app, PlanCommand& command) {
  PlanOptions& o = command.options;
  app.add_option("--micro-batch", o.micro_batch,
                 "Pictures a device (a group, with --sequence-parallel) holds at a time")
      ->capture_default_str();
  app.add_option("--global-batch", o.global_batch, "Pictures of an update; default: one pass on all devices");
  app.add_option("--precision", command.precision, "Of the arithmetic: float32 or bfloat16")->capture_default_str();
  app.add_flag("--recompute", o.recompute, "Layers are computed again in the backward pass instead of kept");
  app.add_flag("--no-ema", command.no_average, "No moving average of the weights");
  app.add_option("--pictures", command.pictures, "Also tell how long so many take");
}

}  // namespace

void add_plan(CLI::App& app, Command& run) {
  auto command = std::make_shared<PlanCommand>();
  PlanOptions& o = command->options;
  CLI::App* sub = app.add_subcommand("plan", "Tell memory, network and time of a training before it is begun");
  sub->footer(kFooter);
  add_sizes(*sub, *command);
  std::string known;
  for (const train::DeviceFigures& each : train::known_devices()) known += (known.empty() ? "" : ", ") + each.name;
  sub->add_option("--device", command->device, known)->capture_default_str();
  sub->add_option("--devices", o.devices, "How many")->capture_default_str();
  sub->add_option("--sharding", command->sharding, "none, zero1, zero2 or zero3")->capture_default_str();
  sub->add_option("--sequence-parallel", o.sequence_parallel, "Devices that share a picture's tokens (Ulysses)")
      ->capture_default_str();
  add_run(*sub, *command);
  sub->add_option("--utilisation", o.utilisation, "Share of the device's peak that is reached")->capture_default_str();
  sub->add_option("--network-share", o.network_share, "Share of the links' bandwidth")->capture_default_str();
  sub->add_option("--memory-share", o.memory_share, "Share of the device's memory that can be used")
      ->capture_default_str();
  sub->add_flag("--json", command->as_json, "Print the plan, or the error, as JSON");
  sub->callback([command, &run] { run = [command] { return plan(*command); }; });
}

}  // namespace glmimage::cli
