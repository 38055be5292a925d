#include <algorithm>
#include <array>
#include <sstream>

#include "core/memory.h"
#include "core/threads.h"
#include "doctor/parts.h"

namespace glmimage::doctor {
namespace {

// The first line "name : value" of /proc/cpuinfo.
std::string cpu_field(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(name)) continue;
    if (line.find_first_not_of(" \t", name.size()) != colon) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

// Those of the processor's flags that decide which kernels run (docs/hardware.md), in the kernel's own spelling.
std::string telling_flags(const std::string& flags) {
  static constexpr std::array kTelling = {"avx2",     "fma",      "avx512f",  "avx512_vnni", "avx512_bf16", "amx_tile",
                                          "amx_bf16", "amx_int8", "avx_vnni", "asimd",       "asimddp",     "asimdhp",
                                          "bf16",     "i8mm",     "sve",      "sve2",        "sme"};
  const std::string spaced = " " + flags + " ";
  std::string out;
  for (const char* each : kTelling) {
    if (spaced.find(std::string(" ") + each + " ") != std::string::npos)
      out += (out.empty() ? "" : " ") + std::string(each);
  }
  return out;
}

std::string model_of(const std::string& text) {
  const std::string model = cpu_field(text, "model name");
  if (!model.empty()) return model;
  // 64-bit Arm gives numbers alone: 0x48 is HiSilicon (Kunpeng, the host of Ascend's servers).
  const std::string implementer = cpu_field(text, "CPU implementer"), part = cpu_field(text, "CPU part");
  if (implementer.empty()) return "";
  const std::string maker = implementer == "0x48" ? "HiSilicon " : implementer == "0x41" ? "Arm " : "";
  return maker + "implementer " + implementer + ", part " + part;
}

constexpr double kGibibyte = 1024.0 * 1024 * 1024;

}  // namespace

Examination examine_processor(const SystemTree& tree) {
  Examination out{.device = "cpu"};
  const std::string info = tree.read("/proc/cpuinfo").value_or("");
  const std::string model = model_of(info);
  out.findings.push_back({.subject = "processor",
                          .state = model.empty() ? State::absent : State::good,
                          .value = model.empty() ? "not named" : model,
                          .source = "/proc/cpuinfo"});
  const std::string flags = cpu_field(info, "flags");
  const std::string sets = telling_flags(flags.empty() ? cpu_field(info, "Features") : flags);
  Finding instructions{.subject = "instruction sets",
                       .state = sets.empty() ? State::absent : State::good,
                       .value = sets.empty() ? "none that the kernels know" : sets,
                       .source = "/proc/cpuinfo"};
  if (sets.find("avx2") == std::string::npos && sets.find("asimd") == std::string::npos) {
    instructions.advice = "pictures are drawn all the same, but slowly";
  }
  out.findings.push_back(std::move(instructions));
  if (!tree.is_running()) return out;
  out.findings.push_back({.subject = "threads",
                          .value = std::to_string(thread_count()),
                          .source = "cores of the affinity mask, the control group's quota, OMP_NUM_THREADS"});
  out.findings.push_back(measured("memory", static_cast<double>(available_memory_bytes()) / kGibibyte, "GiB",
                                  "/proc/meminfo, the control group"));
  out.findings.push_back(
      measured("free memory", static_cast<double>(free_memory_bytes()) / kGibibyte, "GiB", "/proc/meminfo"));
  return out;
}

}  // namespace glmimage::doctor
