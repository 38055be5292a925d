#include "doctor/doctor.h"

#include <ATen/core/Tensor.h>
#include <torch/headeronly/version.h>

#include "core/error.h"
#include "doctor/parts.h"

namespace glmimage::doctor {
namespace {

// Opens the device, which proves that it works or says why not.
Finding open(const DeviceSpec& spec) {
  Finding out{.subject = "opening " + device_name(spec.device), .value = "works", .source = "a sum read back"};
  try {
    open_device(spec);
  } catch (const Error& error) {
    out.state = State::problem;
    out.value = error.what();
    out.advice = "mend what is marked above; docs/hardware.md tells how a device is set up";
  }
  return out;
}

struct Kind {
  const char* name;
  const char* first_device;
};

// A device that was not asked for is opened when its files say that it could work.
bool worth_opening(const Examination& examination) {
  bool library = false, hardware = false;
  for (const Finding& finding : examination.findings) {
    const bool good = finding.state == State::good;
    library = library || (good && finding.subject.starts_with("libtorch_"));
    hardware =
        hardware ||
        (good && (finding.subject == "cards" || finding.subject == "devices" || finding.subject == "device files"));
  }
  return library && hardware;
}

}  // namespace

std::vector<Examination> examine(const Question& question) {
  const SystemTree tree(question.root);
  const std::string torch = libtorch_folder().string();
  std::vector<std::pair<Examination, std::optional<at::Device>>> seen;
  for (const Kind kind : {Kind{"cuda", "cuda:0"}, Kind{"npu", "npu:0"}}) {
    const DeviceSpec spec = question.device ? *question.device : parse_device(kind.first_device);
    const bool asked = question.device && device_name(at::Device(spec.device.type())) == kind.name;
    if (question.device && !asked) continue;
    const auto files = [&](Wanted wanted) {
      return std::string(kind.name) == "cuda" ? examine_nvidia(tree, torch, wanted)
                                              : examine_ascend(tree, torch, TORCH_VERSION, wanted);
    };
    Examination one = files(asked ? Wanted::yes : Wanted::no);
    std::optional<at::Device> device;
    if (tree.is_running() && (asked || worth_opening(one))) {
      const Finding opening = open(spec);
      if (opening.state == State::good) {
        device = spec.device;
        one = files(Wanted::and_works);
      }
      one.findings.push_back(opening);
    }
    seen.emplace_back(std::move(one), device);
  }
  // LibTorch is asked for work only now that all device libraries are loaded.
  std::vector<Examination> out = {examine_processor(tree)};
  Finding library{.subject = "LibTorch", .value = TORCH_VERSION, .source = torch};
  out[0].findings.push_back(library);
  const bool only_cpu = !question.device || question.device->device.is_cpu();
  if (tree.is_running() && question.speeds && only_cpu) measure(at::Device(at::kCPU), out[0]);
  for (auto& [one, device] : seen) {
    if (device && question.speeds) measure(*device, one);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace glmimage::doctor
