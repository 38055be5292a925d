#include <algorithm>
#include <regex>

#include "core/error.h"
#include "doctor/parts.h"
#include "doctor/versions.h"

namespace glmimage::doctor {
namespace {

constexpr const char* kVersionFile = "/proc/driver/nvidia/version";
constexpr const char* kCards = "/proc/driver/nvidia/gpus";

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 …", or "… Open Kernel Module for x86_64 580…".
std::string driver_version(const std::string& text) {
  static const std::regex pattern(R"(Kernel Module[^\n]*?\s(\d+\.\d+(\.\d+)?)\s)");
  std::smatch found;
  const std::string line = text.substr(0, text.find('\n')) + " ";
  return std::regex_search(line, found, pattern) ? found[1].str() : "";
}

// "cuda: Optional[str] = '13.0'" of torch/version.py.
std::string cuda_of_libtorch(const SystemTree& tree, const std::string& torch) {
  static const std::regex pattern(R"(\ncuda[^=\n]*= *'([0-9.]+)')");
  std::smatch found;
  const std::string text = "\n" + tree.read(torch + "/../version.py").value_or("");
  return std::regex_search(text, found, pattern) ? found[1].str() : "";
}

// The models of the cards the driver knows: "2 x NVIDIA H100 80GB HBM3".
std::string card_models(const SystemTree& tree) {
  std::map<std::string, int> models;
  for (const std::string& slot : tree.names(kCards)) {
    const std::string text = tree.read(std::string(kCards) + "/" + slot + "/information").value_or("");
    const size_t at = text.find("Model:");
    if (at == std::string::npos) continue;
    const size_t value = text.find_first_not_of(" \t", at + 6);
    if (value != std::string::npos) ++models[text.substr(value, text.find('\n', value) - value)];
  }
  std::string out;
  for (const auto& [model, count] : models) out += concat(out.empty() ? "" : ", ", count, " x ", model);
  return out;
}

Finding driver(const SystemTree& tree, bool has_card, State missing) {
  const auto text = tree.read(kVersionFile);
  const std::string version = driver_version(text.value_or(""));
  if (!version.empty()) return {.subject = "driver", .value = version, .source = kVersionFile};
  if (text) {
    return {.subject = "driver",
            .state = State::problem,
            .value = "no version in " + text->substr(0, std::min<size_t>(text->find('\n'), 60)),
            .source = kVersionFile,
            .advice = "install NVIDIA's driver again"};
  }
  return {.subject = "driver",
          .state = has_card ? State::problem : missing,
          .value = has_card ? "a card is on the bus, but its driver is not loaded" : "not loaded",
          .source = kVersionFile,
          .advice = "install NVIDIA's driver 580.65.06 or newer, and load it (modprobe nvidia)"};
}

Finding pairing(const std::string& driver, const std::string& cuda) {
  Finding out{.subject = "driver and CUDA",
              .value = driver + " runs programs of CUDA " + cuda,
              .source = "NVIDIA's table of minor version compatibility"};
  const auto least = oldest_nvidia_driver(cuda);
  const auto have = Version::parse(driver);
  if (!least || !have) {
    out.state = State::absent;
    out.value = "no table knows CUDA " + cuda + " with driver " + driver;
  } else if (*have < *Version::parse(*least)) {
    out.state = State::problem;
    out.value = concat("LibTorch was built for CUDA ", cuda, ", which driver ", driver, " does not run");
    out.advice = concat("install driver ", *least, " or newer");
  }
  return out;
}

// Libraries of NVIDIA's wheels beside LibTorch's: <site>/nvidia/…/lib.
Finding wheel_library(const SystemTree& tree, const std::string& torch, const std::string& subject,
                      const std::string& file, const std::vector<std::string>& folders, const std::string& use) {
  for (const std::string& folder : folders) {
    const std::string path = torch + "/../../nvidia/" + folder + "/lib/" + file;
    if (tree.has(path)) {
      const std::string shown = std::filesystem::path(path).lexically_normal().string();
      return {.subject = subject, .value = file, .source = shown};
    }
  }
  return {.subject = subject,
          .state = State::absent,
          .value = file + " not found",
          .source = torch + "/../../nvidia",
          .advice = use + "; scripts/bootstrap --cuda fetches it"};
}

}  // namespace

Examination examine_nvidia(const SystemTree& tree, const std::string& torch, Wanted wanted) {
  Examination out{.device = "cuda"};
  const State missing = wanted == Wanted::yes ? State::problem : State::absent;
  const int64_t cards = count_on_bus(tree, "0x10de", {"0x0300", "0x0302"});
  const std::string models = card_models(tree);
  const bool known = !models.empty() || cards > 0;
  out.findings.push_back({.subject = "cards",
                          .state = known ? State::good : missing,
                          .value = !models.empty() ? models
                                   : cards > 0     ? concat(cards, " on the PCI bus")
                                                   : "none",
                          .source = models.empty() ? "/sys/bus/pci/devices" : kCards,
                          .advice = known ? "" : "this machine shows no NVIDIA card; in a container, pass it through"});
  out.findings.push_back(driver(tree, known && wanted != Wanted::and_works, missing));
  const bool has_driver = out.findings.back().state == State::good;
  const std::string version = out.findings.back().value;
  if (has_driver && tree.names("/dev", "nvidia0").empty() && tree.names("/dev", "nvidia1").empty()) {
    out.findings.push_back({.subject = "device files",
                            .state = State::problem,
                            .value = "the driver is loaded, but there is no /dev/nvidia0",
                            .source = "/dev",
                            .advice = "run nvidia-smi once as root; in a container, pass the devices through"});
  }
  const State used = has_driver ? State::problem : missing;  // a machine with a card should have the library too
  out.findings.push_back(device_library(tree, "libtorch_cuda.so", torch, used, "scripts/bootstrap --cuda installs it"));
  const std::string cuda = cuda_of_libtorch(tree, torch);
  if (!cuda.empty()) {
    out.findings.push_back({.subject = "CUDA of LibTorch", .value = cuda, .source = "torch/version.py"});
  }
  if (has_driver && !cuda.empty()) out.findings.push_back(pairing(version, cuda));
  if (!known && wanted == Wanted::no) return out;
  out.findings.push_back(
      wheel_library(tree, torch, "NVRTC", "libnvrtc.so.13", {"cu13"}, "without it slower compositions run"));
  out.findings.push_back(
      wheel_library(tree, torch, "NCCL", "libnccl.so.2", {"nccl", "cu13"}, "needed for training on several cards"));
  out.findings.push_back(group_plugin(tree, "cuda", torch));
  return out;
}

}  // namespace glmimage::doctor
