#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>

#include "core/error.h"
#include "doctor/finding.h"

namespace glmimage::test {

// A system's files below a folder of the test's own, to be read instead of "/".
class FakeSystem {
 public:
  FakeSystem() {
    static int made = 0;
    root_ = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" / concat("system.", ::getpid(), ".", made++);
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }

  ~FakeSystem() { std::filesystem::remove_all(root_); }
  FakeSystem(const FakeSystem&) = delete;
  FakeSystem& operator=(const FakeSystem&) = delete;

  const std::filesystem::path& root() const { return root_; }
  FakeSystem& file(const std::string& path, const std::string& text) {
    const auto place = root_ / std::filesystem::path(path).relative_path();
    std::filesystem::create_directories(place.parent_path());
    std::ofstream(place) << text;
    return *this;
  }
  FakeSystem& link(const std::string& path, const std::string& target) {
    const auto place = root_ / std::filesystem::path(path).relative_path();
    std::filesystem::create_directories(place.parent_path());
    std::filesystem::create_symlink(target, place);
    return *this;
  }
  FakeSystem& pci(const std::string& slot, const std::string& vendor, const std::string& kind) {
    const std::string folder = "/sys/bus/pci/devices/" + slot;
    return file(folder + "/vendor", vendor + "\n").file(folder + "/class", kind + "\n");
  }

  // An Atlas 800T A2 with two of its devices, as its installers leave it.
  FakeSystem& atlas(const std::string& driver, const std::string& firmware, const std::string& cann) {
    pci("0000:01:00.0", "0x19e5", "0x120000").pci("0000:02:00.0", "0x19e5", "0x120000");
    pci("0000:03:00.0", "0x19e5", "0x020000");  // a network card of the same vendor
    for (const char* name : {"davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc"}) {
      file(std::string("/dev/") + name, "");
    }
    file("/usr/local/Ascend/driver/version.info",
         "Version=" + driver + "\nascendhal_version=7.35.23\nInnerversion=V100R001C23SPC002B212\n" +
             "compatible_version_fw=[7.0.0,8.9.9]\npackage_version=" + driver + "\n");
    file("/usr/local/Ascend/firmware/version.info", "Version=" + firmware + "\nfirmware_version=1.0\n");
    const std::string folder = "/usr/local/Ascend/cann-" + cann;
    link("/usr/local/Ascend/cann", folder);  // a link with "/" in front, as some installers make it
    file(folder + "/aarch64-linux/ascend_toolkit_install.info",
         "package_name=Ascend-cann-toolkit\nversion=" + cann + "\narch=aarch64\nos=linux\n");
    file(folder + "/aarch64-linux/ascend_ops_install.info",
         "package_name=Ascend-cann-910b-ops\nversion=" + cann + "\n");
    file(folder + "/lib64/libhccl.so", "");
    file("/etc/hccn.conf", "address_0=10.0.0.1\n");
    return file("/opt/torch/lib/libtorch_npu.so", "");
  }

 private:
  std::filesystem::path root_;
};

inline const doctor::Finding& finding(const doctor::Examination& seen, const std::string& subject) {
  for (const doctor::Finding& each : seen.findings) {
    if (each.subject == subject) return each;
  }
  static const doctor::Finding none{.subject = "", .state = doctor::State::absent, .value = "was not looked at"};
  return none;
}

}  // namespace glmimage::test
