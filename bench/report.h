#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glmimage::bench {

// How often a piece of work runs: a few times unmeasured, then measured.
struct Repeats {
  int warm_up = 1;
  int measured = 5;
  c10::Device device = c10::Device(c10::kCPU);  // where the work is done

  // So many runs count as one, and their mean is its time: a device is given work ahead, as in a request.
  int ahead = 1;

  int runs() const { return (warm_up + measured) * ahead; }
};

// Wall time of each measured run, in seconds. A device is waited for.
std::vector<double> time_runs(Repeats repeats, const std::function<void()>& work);

double seconds_since_start();  // of the process's monotonic clock; differences matter only

// What was measured, under keys that bench/compare/reference.py uses as well.
class Report {
 public:
  // Prints one line to stderr too, so that a long run shows where it is. `samples` in seconds, at least one.
  void add(const std::string& key, const std::string& work, std::vector<double> samples);
  // One more number beside the times of a key that was added.
  void set(const std::string& key, const std::string& field, int64_t value) { results_[key][field] = value; }
  void skip(const std::string& key, const std::string& why);

  void set_visual_tokens(int64_t count) { visual_tokens_ = count; }

  // {key: {"work", "seconds" (the median), "min", "max", "samples"}}, in the order measured
  const nlohmann::ordered_json& results() const { return results_; }
  const nlohmann::ordered_json& skipped() const { return skipped_; }  // {key: why}
  int64_t visual_tokens() const { return visual_tokens_; }            // of one whole picture; 0: none was drawn

 private:
  nlohmann::ordered_json results_ = nlohmann::ordered_json::object(), skipped_ = nlohmann::ordered_json::object();
  int64_t visual_tokens_ = 0;
};

}  // namespace glmimage::bench
