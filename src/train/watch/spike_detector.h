#pragma once

#include <cstddef>
#include <deque>
#include <optional>

namespace glmimage::train {

// Tells losses that stand out from the late ones: the mean and standard deviation of the last 128, as llm.c does
// (llmc/outlier_detector.h), but without the value in question, which would hide itself.
class SpikeDetector {
 public:
  // threshold: in deviations; 0: nothing stands out.
  explicit SpikeDetector(double threshold) : threshold_(threshold) {}

  // How many deviations `loss` lies above the mean, if that is more than the threshold. Says nothing before 32 losses
  // are known. A loss that is not finite is passed over: its step changes nothing.
  std::optional<double> add(double loss);

 private:
  static constexpr size_t kWindow = 128, kLeast = 32;
  double threshold_;
  std::deque<double> window_;
};

}  // namespace glmimage::train
