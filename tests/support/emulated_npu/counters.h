#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

namespace emulated_npu {

// What the device did, for the tests to read.
class Counters {
 public:
  void add_op(const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++ops_[name];
  }
  void add_to_device(int64_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    to_device_ += bytes;
  }
  void add_to_host(int64_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    to_host_ += bytes;
  }
  void add_live(int64_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    live_ += bytes;
    allocated_ += std::max<int64_t>(bytes, 0);
    peak_ = std::max(peak_, live_);
  }
  void reset() {
    std::lock_guard<std::mutex> lock(mutex_);
    ops_.clear();
    to_device_ = to_host_ = allocated_ = 0;
    peak_ = live_;
  }
  int64_t ops(const std::string& name) const {
    std::lock_guard<std::mutex> lock(mutex_);
    int64_t total = 0;
    for (const auto& [op, count] : ops_) total += name.empty() || op == name ? count : 0;
    return total;
  }
  int64_t to_device() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return to_device_;
  }
  int64_t to_host() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return to_host_;
  }
  int64_t live() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return live_;
  }
  int64_t allocated() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return allocated_;
  }
  int64_t peak() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return peak_;
  }
  nlohmann::json report() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return {{"ops", ops_}, {"bytes_to_device", to_device_}, {"bytes_to_host", to_host_}, {"peak_bytes", peak_}};
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int64_t> ops_;
  int64_t to_device_ = 0, to_host_ = 0, live_ = 0, peak_ = 0, allocated_ = 0;
};

// One device, so one set of counts. Leaked: tensors may be freed after static destructors ran.
inline Counters& counters() {
  static auto* const instance = new Counters;
  return *instance;
}

}  // namespace emulated_npu
