#include "train/plan/devices.h"

#include "core/error.h"

namespace glmimage::train {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9;
constexpr int64_t kGiB = int64_t{1} << 30;
constexpr double kGigabit = kGiga / 8;

// Huawei publishes no data sheet of the 910B's variants; these peaks and bandwidths are the ones commonly given. Of the
// machine, Atlas 800T A2, it does: eight modules of 64 GB, 392 GB/s of HCCS a module both ways, eight ports of 200GE.
constexpr const char* kAscendSource =
    "commonly given for the chip; memory, HCCS and 200GE from Huawei's page of the Atlas 800T A2";
constexpr double kHccs = 392 * kGiga / 2;

DeviceFigures ascend(const char* name, double teraflops, int64_t gigabytes, double terabytes_a_second) {
  return {.name = name,
          .bfloat16_flops = teraflops * kTera,
          .float32_flops = teraflops * kTera / 4,
          .memory_bytes = gigabytes * kGiB,
          .memory_bandwidth = terabytes_a_second * kTera,
          .link_bandwidth = kHccs,
          .network_bandwidth = 200 * kGigabit,
          .source = kAscendSource};
}

// float32 products stay float32 (no TF32), as LibTorch computes them unless told otherwise.
DeviceFigures nvidia(const char* name, double teraflops, double float32_teraflops, int64_t gigabytes,
                     double terabytes_a_second, double nvlink, double gigabits, const char* source) {
  return {.name = name,
          .bfloat16_flops = teraflops * kTera,
          .float32_flops = float32_teraflops * kTera,
          .memory_bytes = gigabytes * static_cast<int64_t>(kGiga),
          .memory_bandwidth = terabytes_a_second * kTera,
          .link_bandwidth = nvlink * kGiga / 2,
          .network_bandwidth = gigabits * kGigabit,
          .source = source};
}

}  // namespace

const std::vector<DeviceFigures>& known_devices() {
  static const std::vector<DeviceFigures> table = {
      ascend("ascend910b", 313, 64, 1.6),  // without more said: the 910B3, the usual one in an Atlas 800T A2
      ascend("ascend910b1", 414, 64, 1.6),
      ascend("ascend910b2", 376, 64, 1.6),
      ascend("ascend910b3", 313, 64, 1.6),
      ascend("ascend910b4", 280, 32, 0.8),
      nvidia("a100", 312, 19.5, 80, 2.039, 600, 200, "NVIDIA A100 80GB SXM data sheet; DGX A100: 200 Gb/s a GPU"),
      nvidia("h100", 989.4, 67, 80, 3.35, 900, 400,
             "NVIDIA H100 SXM data sheet, half of its figure with sparsity; DGX H100: 400 Gb/s a GPU"),
      nvidia("h200", 989.4, 67, 141, 4.8, 900, 400,
             "NVIDIA H200 SXM data sheet, half of its figure with sparsity; DGX H200: 400 Gb/s a GPU"),
      {.name = "cpu",
       .bfloat16_flops = 376 * kGiga,
       .float32_flops = 188 * kGiga,
       .memory_bytes = 16 * kGiB,
       .memory_bandwidth = 48.6 * kGiga,
       .link_bandwidth = 10 * kGigabit,
       .network_bandwidth = 10 * kGigabit,
       .devices_per_machine = 1,
       .source = "measured: two cores of an AMD EPYC with AVX-512 and bfloat16 (docs/performance.md); 10GE"},
  };
  return table;
}

const DeviceFigures& find_device_figures(const std::string& name) {
  std::string known;
  for (const DeviceFigures& each : known_devices()) {
    if (each.name == name) return each;
    known += (known.empty() ? "" : ", ") + each.name;
  }
  fail(ErrorKind::usage, "there are no figures of a device '", name, "'; known are: ", known);
}

}  // namespace glmimage::train
