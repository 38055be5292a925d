#include <algorithm>

#include "doctor/parts.h"

namespace glmimage::doctor {
namespace {

namespace fs = std::filesystem;

std::string program_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? "" : program.parent_path().string();
}

}  // namespace

int64_t count_on_bus(const SystemTree& tree, const std::string& vendor, const std::vector<std::string>& classes) {
  const std::string bus = "/sys/bus/pci/devices";
  int64_t count = 0;
  for (const std::string& slot : tree.names(bus)) {
    const std::string of = tree.read(bus + "/" + slot + "/vendor").value_or("");
    const std::string kind = tree.read(bus + "/" + slot + "/class").value_or("");
    const bool fits =
        std::any_of(classes.begin(), classes.end(), [&](const std::string& start) { return kind.starts_with(start); });
    if (of.starts_with(vendor) && fits) ++count;
  }
  return count;
}

Finding device_library(const SystemTree& tree, const std::string& library, const std::string& torch, State missing,
                       const std::string& advice) {
  if (const auto chosen = tree.variable("GLM_IMAGE_DEVICE_LIBRARY")) {
    if (tree.has(fs::absolute(*chosen))) {
      return {.subject = library, .value = *chosen, .source = "GLM_IMAGE_DEVICE_LIBRARY"};
    }
    return {.subject = library,
            .state = State::problem,
            .value = "no file " + *chosen,
            .source = "GLM_IMAGE_DEVICE_LIBRARY",
            .advice = "set GLM_IMAGE_DEVICE_LIBRARY to the library, or unset it"};
  }
  const std::string beside = torch + "/" + library;
  if (!torch.empty() && tree.has(beside)) return {.subject = library, .value = beside, .source = torch};
  return {.subject = library, .state = missing, .value = "not found", .source = torch, .advice = advice};
}

Finding group_plugin(const SystemTree& tree, const std::string& device, const std::string& torch) {
  const std::string subject = "collectives", name = "libglm_image_group_" + device + ".so";
  if (const auto chosen = tree.variable("GLM_IMAGE_GROUP_LIBRARY")) {
    if (tree.has(fs::absolute(*chosen))) {
      return {.subject = subject, .value = *chosen, .source = "GLM_IMAGE_GROUP_LIBRARY"};
    }
    return {.subject = subject,
            .state = State::problem,
            .value = "no file " + *chosen,
            .source = "GLM_IMAGE_GROUP_LIBRARY",
            .advice = "set GLM_IMAGE_GROUP_LIBRARY to the plug-in, or unset it"};
  }
  for (const std::string& folder : {tree.is_running() ? program_folder() : std::string(), torch}) {
    if (!folder.empty() && tree.has(folder + "/" + name)) {
      return {.subject = subject, .value = folder + "/" + name, .source = folder};
    }
  }
  return {.subject = subject,
          .state = State::absent,
          .value = name + " not found",
          .source = "the folders of the program and of LibTorch",
          .advice = "needed for training on several devices alone: docs/" +
                    std::string(device == "npu" ? "ascend.md" : "hardware.md") + " says how to build it"};
}

}  // namespace glmimage::doctor
