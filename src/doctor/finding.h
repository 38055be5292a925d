#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace glmimage::doctor {

enum class State {
  good,     // found, and as it should be
  absent,   // not there; no fault unless someone wants this device
  problem,  // has to be mended before the device can be used
};

// One thing that was looked at.
struct Finding {
  std::string subject;  // "driver"
  State state = State::good;
  std::string value;                  // "580.159.04", or what is wrong, in a few words
  std::string source = {};            // the file it was read from, or what was asked
  std::string advice = {};            // what to do, one sentence; empty when all is well
  std::optional<double> figure = {};  // what was measured or counted, in `unit`
  std::string unit = {};
};

// What was found about one device: "cpu", "cuda", "npu".
struct Examination {
  std::string device;
  std::vector<Finding> findings = {};

  bool has_problem() const;
  // {"device", "healthy", "findings": [{"subject", "state", "value", "source"?, "advice"?, "figure"?, "unit"?}]}
  nlohmann::json to_json() const;
};

const char* state_name(State state);

// "312 GFLOP/s": a measured figure with three digits and its unit.
Finding measured(const std::string& subject, double figure, const std::string& unit, const std::string& source);

}  // namespace glmimage::doctor
