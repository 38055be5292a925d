#include "doctor/doctor.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/error.h"
#include "core/terminal_text.h"
#include "core/threads.h"

namespace glmimage::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image doctor
  glm-image doctor --device npu
  glm-image doctor --device cuda:1 --json
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

int run(const DoctorOptions& options) {
  doctor::Question question{.root = options.root, .speeds = !options.quick};
  if (!options.device.empty()) question.device = parse_device(options.device);
  if (!std::filesystem::is_directory(options.root)) fail(ErrorKind::usage, "--root ", options.root, " is no folder");
  set_threads(0);
  const std::vector<doctor::Examination> seen = doctor::examine(question);
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
