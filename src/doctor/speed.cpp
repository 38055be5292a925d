#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>

#include "core/current_error.h"
#include "core/error.h"
#include "doctor/parts.h"

namespace glmimage::doctor {
namespace {

constexpr int kRuns = 5;
constexpr double kEnoughSeconds = 5e-3;  // a product that takes so long hides what starting it costs
constexpr int64_t kLargestSide = 8192;
constexpr int64_t kMostWords = 1 << 28;  // of 8 bytes: 2 GiB
constexpr double kGibibyte = 1024.0 * 1024 * 1024;

void wait_for(const at::Device& device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

// The best of a few runs, in seconds; the first is not counted.
double best_seconds(const at::Device& device, const std::function<void()>& work) {
  double best = 0;
  for (int run = 0; run <= kRuns; ++run) {
    wait_for(device);
    const auto begin = std::chrono::steady_clock::now();
    work();
    wait_for(device);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (run > 0 && (best == 0 || seconds < best)) best = seconds;
  }
  return best;
}

// Products of two square matrices, as large as it takes to be long enough.
Finding product_speed(const at::Device& device, at::ScalarType type, const std::string& name) {
  for (int64_t side = 512;; side *= 2) {
    const at::Tensor ones = at::ones({side, side}, at::TensorOptions(type).device(device));
    const double first = at::mm(ones, ones)[side - 1][side - 1].to(at::kFloat).item<double>();
    if (first != static_cast<double>(side)) {
      fail(ErrorKind::device, "a product of matrices of ones of ", name, " was ", first, ", not ", side);
    }
    const double seconds = best_seconds(device, [&] { at::mm(ones, ones); });
    if (seconds < kEnoughSeconds && side < kLargestSide) continue;
    const double cubic = static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side);
    const double rate = 2 * cubic / seconds;
    const std::string source = concat("product of two ", side, " x ", side, " matrices");
    return rate >= 1e12 ? measured("product in " + name, rate / 1e12, "TFLOP/s", source)
                        : measured("product in " + name, rate / 1e9, "GFLOP/s", source);
  }
}

// Reading `words` of 8 bytes, or more when that is over too soon.
Finding reading_speed(const at::Device& device, int64_t words) {
  const at::Tensor memory = at::ones({words}, at::TensorOptions(at::kLong).device(device));
  std::atomic<int64_t> total{0};
  const double seconds = best_seconds(device, [&] {
    if (!device.is_cpu()) {
      memory.sum();
      return;
    }
    const int64_t* data = memory.const_data_ptr<int64_t>();
    at::parallel_for(0, words, 1 << 16, [&](int64_t first, int64_t last) {
      int64_t sum = 0;
      for (int64_t i = first; i < last; ++i) sum += data[i];
      total += sum;  // or the compiler would leave it out
    });
  });
  if (device.is_cpu() && total == 0) fail(ErrorKind::internal, "the memory was not read");
  if (seconds < kEnoughSeconds && words < kMostWords) return reading_speed(device, words * 2);
  const double bytes = static_cast<double>(words) * 8;
  return measured("reading memory", bytes / seconds / 1e9, "GB/s", concat(bytes / 1024 / 1024, " MiB"));
}

// What a device's allocator says; CPUs are asked by examine_processor.
void memory_of(const at::Device& device, Examination& examination) {
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  if (!allocator) return;
  try {
    const auto [free, total] = allocator->getMemoryInfo(device.index());
    examination.findings.push_back(
        measured("memory", static_cast<double>(total) / kGibibyte, "GiB", "the device's allocator"));
    examination.findings.push_back(
        measured("free memory", static_cast<double>(free) / kGibibyte, "GiB", "the device's allocator"));
  } catch (const c10::NotImplementedError&) {
    examination.findings.push_back({.subject = "memory",
                                    .state = State::absent,
                                    .value = "the device's library does not tell",
                                    .source = "the device's allocator"});
  }
}

template <typename Function>
Function* function_in_process(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

// Model and cores, from the vendor's runtime where it is in the process by now: Ascend's acl.h and CUDA's
// cuda_runtime_api.h (cudaDeviceAttr).
void cores_of(const at::Device& device, Examination& examination) {
  if (device.is_privateuseone()) {
    if (auto* name = function_in_process<const char*()>("aclrtGetSocName"); name && name()) {
      examination.findings.push_back({.subject = "model", .value = name(), .source = "aclrtGetSocName"});
    }
    int64_t cores = 0;
    auto* capability = function_in_process<int(uint32_t, int, int64_t*)>("aclGetDeviceCapability");
    constexpr int kAiCores = 0;  // ACL_DEVICE_INFO_AI_CORE_NUM
    if (capability && capability(static_cast<uint32_t>(device.index()), kAiCores, &cores) == 0) {
      examination.findings.push_back(
          measured("AI cores", static_cast<double>(cores), "cores", "aclGetDeviceCapability"));
    }
  } else if (auto* attribute = function_in_process<int(int*, int, int)>("cudaDeviceGetAttribute")) {
    int processors = 0, major = 0, minor = 0;
    if (attribute(&processors, 16, device.index()) == 0) {
      examination.findings.push_back(
          measured("multiprocessors", processors, "cores", "cudaDevAttrMultiProcessorCount"));
    }
    if (attribute(&major, 75, device.index()) == 0 && attribute(&minor, 76, device.index()) == 0) {
      examination.findings.push_back({.subject = "compute capability",
                                      .value = concat(major, ".", minor),
                                      .source = "cudaDevAttrComputeCapabilityMajor, …Minor"});
    }
  }
}

}  // namespace

void measure(const at::Device& device, Examination& examination) {
  const c10::InferenceMode inference;
  try {
    if (!device.is_cpu()) {
      cores_of(device, examination);
      memory_of(device, examination);
    }
    examination.findings.push_back(product_speed(device, at::kFloat, "float32"));
    examination.findings.push_back(product_speed(device, at::kBFloat16, "bfloat16"));
    examination.findings.push_back(
        reading_speed(device, device.is_cpu() ? 1 << 25 : 1 << 22));  // a processor's caches are larger
  } catch (const std::exception&) {
    examination.findings.push_back({.subject = "arithmetic",
                                    .state = State::problem,
                                    .value = current_error().what(),
                                    .source = "a test product",
                                    .advice = "free the device's memory, or restart it; see the lines above"});
  }
}

}  // namespace glmimage::doctor
