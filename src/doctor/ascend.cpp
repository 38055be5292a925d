#include <algorithm>

#include "core/error.h"
#include "doctor/parts.h"
#include "doctor/versions.h"

namespace glmimage::doctor {
namespace {

constexpr const char* kInstallInfo = "/etc/ascend_install.info";
constexpr const char* kDefaultRoot = "/usr/local/Ascend";

using Values = std::map<std::string, std::string>;

std::string value_or_empty(const Values& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? "" : found->second;
}

// A version file's field; a problem when the file is there without it.
Finding version_of(const SystemTree& tree, const std::string& subject, const std::string& file,
                   const std::vector<std::string>& fields, State missing, const std::string& advice) {
  const auto text = tree.read(file);
  if (!text) return {.subject = subject, .state = missing, .value = "not found", .source = file, .advice = advice};
  const Values values = named_values(*text);
  for (const std::string& field : fields) {
    const std::string version = value_or_empty(values, field);
    if (Version::parse(version)) return {.subject = subject, .value = version, .source = file};
  }
  return {.subject = subject,
          .state = State::problem,
          .value = "the file names no version (" + fields.front() + "=…)",
          .source = file,
          .advice = advice};
}

// Where driver and firmware were installed.
std::string install_root(const SystemTree& tree) {
  const Values values = named_values(tree.read(kInstallInfo).value_or(""));
  const std::string path = value_or_empty(values, "Driver_Install_Path_Param");
  return path.starts_with("/") ? path : kDefaultRoot;
}

// CANN's folder and its file with the version: the environment's, else where the installers put it (from 8.5.0 on
// /usr/local/Ascend/cann, before ascend-toolkit/latest).
struct Cann {
  std::string folder, info;
};

std::optional<Cann> find_cann(const SystemTree& tree) {
  std::vector<std::string> folders;
  for (const char* name : {"ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"}) {
    if (const auto set = tree.variable(name)) folders.push_back(*set);
  }
  for (const char* each : {"/cann", "/ascend-toolkit/latest"}) folders.push_back(kDefaultRoot + std::string(each));
  for (const std::string& folder : folders) {
    for (const char* machine : {"aarch64-linux", "x86_64-linux"}) {
      const std::string info = folder + "/" + machine + "/ascend_toolkit_install.info";
      if (tree.has(info)) return Cann{folder, info};
    }
  }
  return std::nullopt;
}

Finding device_files(const SystemTree& tree, State missing) {
  int64_t devices = 0;
  for (const std::string& name : tree.names("/dev", "davinci")) {
    const std::string number = name.substr(7);
    if (!number.empty() && number.find_first_not_of("0123456789") == std::string::npos) ++devices;
  }
  std::string lacking;
  for (const char* each : {"davinci_manager", "devmm_svm", "hisi_hdc"}) {
    if (!tree.has(std::string("/dev/") + each)) lacking += std::string(lacking.empty() ? "" : ", ") + "/dev/" + each;
  }
  Finding out{.subject = "device files",
              .value = concat(devices, devices == 1 ? " device" : " devices"),
              .source = "/dev/davinci*",
              .figure = static_cast<double>(devices),
              .unit = "devices"};
  if (devices == 0) {
    out.state = missing;
    out.value = "none";
    out.advice = "install the driver; in a container, pass /dev/davinci0 … through";
  } else if (!lacking.empty()) {
    out.state = State::problem;
    out.value += concat(", but no ", lacking);
    out.advice = "in a container, pass these files through too";
  }
  return out;
}

Finding firmware_pairing(const std::string& firmware, const std::string& ranges, const std::string& file) {
  Finding out{.subject = "driver and firmware", .value = firmware + " is in " + ranges, .source = file};
  switch (firmware_in_ranges(firmware, ranges)) {
    case Pair::published: return out;
    case Pair::refused:
      out.state = State::problem;
      out.value = concat("the driver asks for firmware in ", ranges, ", not ", firmware);
      out.advice = "install the firmware that belongs to the driver, then restart the machine";
      return out;
    case Pair::unknown:
      out.state = State::absent;
      out.value = concat("firmware ", firmware, " and ranges '", ranges, "' cannot be compared");
      return out;
  }
  return out;
}

Finding driver_pairing(const std::string& cann, const std::string& driver) {
  Finding out{.subject = "CANN and driver",
              .value = concat("CANN ", cann, " runs with driver ", driver),
              .source = "CANN release notes, CANN and Ascend HDK version compatibility"};
  switch (cann_with_driver(cann, driver)) {
    case Pair::published: return out;
    case Pair::refused:
      out.state = State::problem;
      out.value = concat("CANN ", cann, " does not run with driver ", driver);
      out.advice = "install a newer driver and firmware (Ascend HDK 25.2 or newer for CANN 9.1, 26.1 comes with it)";
      return out;
    case Pair::unknown:
      out.state = State::absent;
      out.value = concat("no table here knows CANN ", cann, " with driver ", driver);
      out.advice = "look both up in the vendor's compatibility tables";
      return out;
  }
  return out;
}

Finding libtorch_pairing(const std::string& cann, const std::string& libtorch) {
  const auto released = cann_of_libtorch(libtorch);
  Finding out{.subject = "CANN and LibTorch", .value = {}, .source = "torch_npu's COMPATIBILITY.md"};
  if (!released) {
    out.state = State::absent;
    out.value = concat("no table here knows torch_npu for LibTorch ", libtorch);
    return out;
  }
  const auto have = Version::parse(cann), want = Version::parse(*released);
  // Patch releases of one CANN are as good.
  const bool same = have && have->part(0) == want->part(0) && have->part(1) == want->part(1);
  out.value = concat("torch_npu for LibTorch ", libtorch, " was released with CANN ", *released);
  if (same) return out;
  const bool older = have && *have < *want;
  out.state = older ? State::problem : State::absent;
  out.value += concat(", here is ", cann);
  out.advice = concat("install CANN ", *released, older ? "" : " if operators fail");
  return out;
}

// CANN's operators are a package of their own, of the toolkit's version.
Finding operators_of(const SystemTree& tree, const std::string& toolkit_info, const std::string& toolkit) {
  const std::string info = toolkit_info.substr(0, toolkit_info.rfind('/')) + "/ascend_ops_install.info";
  Finding out = version_of(tree, "CANN's operators", info, {"version"}, State::problem,
                           "install Ascend-cann-910b-ops of CANN " + toolkit);
  if (out.state == State::good && Version::parse(out.value) != Version::parse(toolkit)) {
    out.state = State::problem;
    out.advice = "install the operators of CANN " + toolkit;
  }
  return out;
}

void examine_cann(const SystemTree& tree, const std::string& driver, const std::string& libtorch, State missing,
                  Examination& out) {
  const auto cann = find_cann(tree);
  const std::string advice = "install CANN's toolkit and operators (docs/ascend.md)";
  if (!cann) {
    out.findings.push_back({.subject = "CANN",
                            .state = missing,
                            .value = "not found",
                            .source = std::string(kDefaultRoot) + "/cann, " + kDefaultRoot + "/ascend-toolkit/latest",
                            .advice = advice});
    return;
  }
  out.findings.push_back(version_of(tree, "CANN", cann->info, {"version"}, missing, advice));
  const bool has_version = out.findings.back().state == State::good;
  const std::string version = out.findings.back().value;
  if (tree.is_running() && !tree.variable("ASCEND_HOME_PATH")) {
    out.findings.push_back({.subject = "CANN's environment",
                            .state = missing,
                            .value = "ASCEND_HOME_PATH is not set",
                            .source = "environment",
                            .advice = "source " + cann->folder + "/set_env.sh"});
  }
  if (has_version && *Version::parse(version) >= *Version::parse("8.5.0")) {  // before, they were called kernels
    out.findings.push_back(operators_of(tree, cann->info, version));
  }
  const std::string hccl = cann->folder + "/lib64/libhccl.so";
  const bool has_hccl = tree.has(hccl);
  out.findings.push_back({.subject = "HCCL",
                          .state = has_hccl ? State::good : missing,
                          .value = has_hccl ? "libhccl.so" : "libhccl.so not found",
                          .source = hccl,
                          .advice = has_hccl ? "" : "torch_npu does not load without it: " + advice});
  if (!has_version) return;
  if (!driver.empty()) out.findings.push_back(driver_pairing(version, driver));
  out.findings.push_back(libtorch_pairing(version, libtorch));
}

}  // namespace

Examination examine_ascend(const SystemTree& tree, const std::string& torch, const std::string& libtorch,
                           Wanted wanted) {
  Examination out{.device = "npu"};
  const int64_t boards = count_on_bus(tree, "0x19e5", {"0x1200"});
  const State missing = wanted == Wanted::yes ? State::problem : State::absent;
  // Who has the hardware wants the rest.
  const State needed = boards > 0 && wanted != Wanted::and_works ? State::problem : missing;
  out.findings.push_back({.subject = "devices",
                          .state = boards > 0 ? State::good : missing,
                          .value = boards > 0 ? concat(boards, " on the PCI bus") : "none",
                          .source = "/sys/bus/pci/devices",
                          .advice = boards > 0 ? "" : "this machine shows no Ascend processor",
                          .figure = static_cast<double>(boards),
                          .unit = "devices"});
  if (boards == 0 && wanted == Wanted::no && tree.names("/dev", "davinci").empty()) return out;
  const std::string root = install_root(tree);
  out.findings.push_back(version_of(tree, "driver", root + "/driver/version.info", {"package_version", "Version"},
                                    needed, "install Ascend HDK's driver, then its firmware"));
  const std::string driver = out.findings.back().state == State::good ? out.findings.back().value : "";
  const std::string driver_file = out.findings.back().source;
  out.findings.push_back(device_files(tree, needed));
  const std::string firmware_file = root + "/firmware/version.info";
  if (tree.has(firmware_file)) {  // containers see the driver's files alone
    out.findings.push_back(
        version_of(tree, "firmware", firmware_file, {"Version"}, State::absent, "install Ascend HDK's firmware again"));
    const Values values = named_values(tree.read(driver_file).value_or(""));
    const std::string ranges = value_or_empty(values, "compatible_version_fw");
    if (out.findings.back().state == State::good && !ranges.empty()) {
      out.findings.push_back(firmware_pairing(out.findings.back().value, ranges, driver_file));
    }
  }
  examine_cann(tree, driver, libtorch, needed, out);
  out.findings.push_back(device_library(tree, "libtorch_npu.so", torch, needed,
                                        "build torch_npu without Python (docs/ascend.md) and name its library in "
                                        "GLM_IMAGE_DEVICE_LIBRARY"));
  const bool has_addresses = tree.has("/etc/hccn.conf");
  out.findings.push_back({.subject = "addresses of the devices",
                          .state = has_addresses ? State::good : State::absent,
                          .value = has_addresses ? "set" : "not set",
                          .source = "/etc/hccn.conf",
                          .advice = has_addresses ? "" : "needed for several machines alone: hccn_tool sets them"});
  out.findings.push_back(group_plugin(tree, "npu", torch));
  return out;
}

}  // namespace glmimage::doctor
