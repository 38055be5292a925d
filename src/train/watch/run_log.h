#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/image.h"
#include "train/config/train_config.h"
#include "train/watch/event_file.h"
#include "train/watch/spike_detector.h"

namespace glmimage::train {

// A picture drawn while training, to look at.
struct SamplePicture {
  std::string name;  // short, fit for a file's name
  Image image;
};

// What a run tells its user: every step in metrics.jsonl and in a TensorBoard file, some of them on stderr.
class RunLog {
 public:
  // Lines of metrics.jsonl from `first_step` on are dropped: they were written after the state the run goes on from.
  RunLog(const TrainConfig& config, const std::filesystem::path& folder, int64_t first_step);

  // Adds step, seconds since the start, samples a second and, where the loss is an outlier, spike.
  void step(int64_t step, nlohmann::json values);
  // What several processes cost, once: a line of metrics.jsonl and one on stderr.
  void processes(int64_t step, nlohmann::json values);
  // Held-out numbers after a step.
  void measured(int64_t step, const nlohmann::json& values);
  // To samples/step-NNNNNNNN-NAME.png and TensorBoard.
  void pictures(int64_t step, const std::vector<SamplePicture>& pictures);
  // What was measured at the end.
  void note(const nlohmann::json& values);

 private:
  using Clock = std::chrono::steady_clock;
  void write(const nlohmann::json& line);
  double seconds_a_step();
  void tell(int64_t step, const nlohmann::json& values, double seconds_a_step) const;

  std::string stage_;
  std::filesystem::path folder_;
  int64_t steps_, log_every_, samples_a_step_;
  std::ofstream metrics_;
  EventFile events_;
  SpikeDetector spikes_;
  Clock::time_point began_;
  std::deque<Clock::time_point> ends_;  // of the late steps
};

}  // namespace glmimage::train
