#include "doctor/doctor.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/terminal_text.h"
#include "core/threads.h"
#include "train/distributed/process_group.h"

namespace glmimage::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image doctor
  glm-image doctor --device npu
  glm-image doctor --device cuda:1 --json
  mpirun -n 8 glm-image doctor --device npu          also how fast sums go between eight processes
  glm-image doctor --device npu --root /mnt/image    the files of a container's image

Lines marked '!' have to be mended, lines marked '-' are not there and need not be.
Exit code 0: all is well; 4: something has to be mended.)";

struct DoctorOptions {
  std::string device, root = "/";
  bool json = false, quick = false;
};

void print(const doctor::Examination& examination) {
  std::printf("%s\n", examination.device.c_str());
  for (const doctor::Finding& finding : examination.findings) {
    const char mark = finding.state == doctor::State::good ? ' ' : finding.state == doctor::State::absent ? '-' : '!';
    std::printf("%c %-24s %s", mark, finding.subject.c_str(), terminal_text(finding.value).c_str());
    if (!finding.source.empty()) std::printf("  (%s)", terminal_text(finding.source).c_str());
    std::printf("\n");
    if (!finding.advice.empty()) std::printf("  %-24s -> %s\n", "", terminal_text(finding.advice).c_str());
  }
}

// Seconds that the sum of `values` float32 takes, the best of some: the same number on all processes, their mean.
double sum_seconds(train::ProcessGroup& group, at::Device device, int64_t values) {
  constexpr int kRuns = 5;
  const at::Tensor tensor = at::ones({values}, at::TensorOptions(at::kFloat).device(device));
  double best = 0;
  for (int run = 0; run <= kRuns; ++run) {
    tensor.fill_(1);
    tensor[0].item();  // waits for the device
    const auto begin = std::chrono::steady_clock::now();
    group.all_reduce(tensor, "a test sum").wait();
    const double sum = tensor[0].item<double>();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (sum != static_cast<double>(group.size())) fail(ErrorKind::device, "a sum of ", group.size(), " ones is ", sum);
    if (run > 0 && (best == 0 || seconds < best)) best = seconds;
  }
  const at::Tensor mean = at::full({1}, best, tensor.options());
  group.all_reduce(mean, "a test sum's time").wait();
  return mean.item<double>() / static_cast<double>(group.size());
}

// How fast sums go between all processes, when a launcher started several, on as much as takes long enough.
doctor::Finding sum_speed(const Launch& launch, at::Device device) {
  constexpr double kEnoughSeconds = 20e-3;
  constexpr int64_t kFewest = 1 << 18, kMost = 1 << 26;  // of 4 bytes: 1 MiB to 256 MiB
  const auto group = train::ProcessGroup::open(launch, {.device = device, .timeout = std::chrono::minutes(2)});
  for (int64_t values = kFewest;; values *= 4) {
    const double seconds = sum_seconds(*group, device, values);
    if (seconds < kEnoughSeconds && values < kMost) continue;
    const auto size = static_cast<double>(launch.size);
    const double sent = 4 * static_cast<double>(values) * 2 * (size - 1) / size;
    return doctor::measured(
        "sum over processes", sent / seconds / 1e9, "GB/s",
        concat(launch.size, " processes (", launch.source, "), ", values * 4 / 1024 / 1024, " MiB, sent by each"));
  }
}

void add_sum_speed(const Launch& launch, at::Device device, doctor::Examination& examination) {
  try {
    examination.findings.push_back(sum_speed(launch, device));
  } catch (const Error& error) {
    examination.findings.push_back({.subject = "sum over processes",
                                    .state = doctor::State::problem,
                                    .value = error.what(),
                                    .source = launch.source,
                                    .advice = "docs/distributed.md tells how processes find each other"});
  }
}

// Without a number: the device of the process's number on its machine, as in training.
DeviceSpec device_of(const std::string& text, const std::optional<Launch>& launch) {
  DeviceSpec spec = parse_device(text);
  if (launch && !spec.device.is_cpu() && text.find(':') == std::string::npos) {
    spec.device.set_index(static_cast<c10::DeviceIndex>(launch->local_rank));
  }
  return spec;
}

int run(const DoctorOptions& options) {
  doctor::Question question{.root = options.root, .speeds = !options.quick};
  const std::optional<Launch> launch = launch_from_environment();
  if (launch && options.device.empty()) fail(ErrorKind::usage, launch->source, " started several: give a --device");
  if (!options.device.empty()) question.device = device_of(options.device, launch);
  if (!std::filesystem::is_directory(options.root)) fail(ErrorKind::usage, "--root ", options.root, " is no folder");
  set_threads(0);
  std::vector<doctor::Examination> seen = doctor::examine(question);
  if (launch && question.speeds && !seen.back().has_problem()) {
    add_sum_speed(*launch, question.device->device, seen.back());
  }
  bool healthy = true;
  nlohmann::json devices = nlohmann::json::array();
  for (const doctor::Examination& one : seen) {
    healthy = healthy && !one.has_problem();
    if (options.json) {
      devices.push_back(one.to_json());
    } else {
      print(one);
    }
  }
  if (options.json) {
    const nlohmann::json out = {{"healthy", healthy}, {"devices", std::move(devices)}};
    std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  return healthy ? 0 : exit_code(ErrorKind::device);
}

}  // namespace

void add_doctor(CLI::App& app, Command& command) {
  CLI::App* sub =
      app.add_subcommand("doctor", "What devices, drivers and libraries this machine has, and what is amiss");
  sub->footer(kFooter);
  auto options = std::make_shared<DoctorOptions>();
  sub->add_option("--device", options->device,
                  "cpu, cuda[:N] or npu[:N], which then has to work (default: look for all)");
  sub->add_option("--root", options->root, "read the files below this folder, another system's; measures nothing");
  sub->add_flag("--quick", options->quick, "measure no speeds");
  sub->add_flag("--json", options->json, "print JSON");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace glmimage::cli
