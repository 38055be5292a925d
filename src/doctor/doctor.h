#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "core/device.h"
#include "doctor/finding.h"

// What this machine has to draw and train with: devices, drivers, libraries, whether their versions pair, how fast they
// are, and what to do about what is wrong.
namespace glmimage::doctor {

struct Question {
  std::optional<DeviceSpec> device = {};  // unset: all there are
  std::filesystem::path root = "/";       // whose files are read; another than "/" is only read, not measured
  bool speeds = true;
};

// The processor first, then the device asked for, or all kinds. Devices that seem to be there are opened, for good, so
// ask before anything else is asked of LibTorch (core/device.h).
std::vector<Examination> examine(const Question& question);

}  // namespace glmimage::doctor
