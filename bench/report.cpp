#include "bench/report.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace glmimage::bench {

double seconds_since_start() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<double> time_runs(Repeats repeats, const std::function<void()>& work) {
  const auto run = [&] {
    for (int i = 0; i < repeats.ahead; ++i) work();
    if (repeats.device.is_cpu()) return;
    c10::impl::getDeviceGuardImpl(repeats.device.type())->synchronizeDevice(repeats.device.index());
  };
  for (int i = 0; i < repeats.warm_up; ++i) run();
  std::vector<double> samples;
  for (int i = 0; i < repeats.measured; ++i) {
    const double began = seconds_since_start();
    run();
    samples.push_back((seconds_since_start() - began) / repeats.ahead);
  }
  return samples;
}

void Report::add(const std::string& key, const std::string& work, std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const size_t half = samples.size() / 2;
  const double median = samples.size() % 2 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
  results_[key] = {{"work", work},
                   {"seconds", median},
                   {"min", samples.front()},
                   {"max", samples.back()},
                   {"samples", samples.size()}};
  std::fprintf(stderr, "%-28s %10.4f s  (%.4f to %.4f, %zu runs)\n", key.c_str(), median, samples.front(),
               samples.back(), samples.size());
}

void Report::skip(const std::string& key, const std::string& why) {
  skipped_[key] = why;
  std::fprintf(stderr, "%-28s skipped: %s\n", key.c_str(), why.c_str());
}

}  // namespace glmimage::bench
