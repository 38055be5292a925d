#include "train/watch/spike_detector.h"

#include <cmath>
#include <numeric>

namespace glmimage::train {

std::optional<double> SpikeDetector::add(double loss) {
  if (threshold_ == 0 || !std::isfinite(loss)) return std::nullopt;
  std::optional<double> found;
  if (window_.size() >= kLeast) {
    const double count = static_cast<double>(window_.size());
    const double mean = std::accumulate(window_.begin(), window_.end(), 0.0) / count;
    double squares = 0;
    for (double x : window_) squares += (x - mean) * (x - mean);
    const double z = (loss - mean) / std::sqrt(squares / count);
    if (std::isfinite(z) && z > threshold_) found = z;
  }
  window_.push_back(loss);
  if (window_.size() > kWindow) window_.pop_front();
  return found;
}

}  // namespace glmimage::train
