#include "doctor/finding.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace glmimage::doctor {

const char* state_name(State state) {
  switch (state) {
    case State::good: return "good";
    case State::absent: return "absent";
    case State::problem: return "problem";
  }
  return "problem";
}

bool Examination::has_problem() const {
  return std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.state == State::problem; });
}

nlohmann::json Examination::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    nlohmann::json one = {{"subject", finding.subject}, {"state", state_name(finding.state)}, {"value", finding.value}};
    if (!finding.source.empty()) one["source"] = finding.source;
    if (!finding.advice.empty()) one["advice"] = finding.advice;
    if (finding.figure) {
      one["figure"] = *finding.figure;
      one["unit"] = finding.unit;
    }
    list.push_back(std::move(one));
  }
  return {{"device", device}, {"healthy", !has_problem()}, {"findings", std::move(list)}};
}

Finding measured(const std::string& subject, double figure, const std::string& unit, const std::string& source) {
  char text[64];
  std::snprintf(text, sizeof text, figure < 1000 ? "%.3g " : "%.0f ", figure);
  return {
      .subject = subject, .state = State::good, .value = text + unit, .source = source, .figure = figure, .unit = unit};
}

}  // namespace glmimage::doctor
