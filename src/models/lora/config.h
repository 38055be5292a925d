#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"

namespace glmimage {

// How strongly an adapter's matrices work: what PEFT writes as adapter_config.json and diffusers into a file's
// metadata.
struct LoraConfig {
  int64_t rank = 0;
  double alpha = 0;
  bool rank_stabilised = false;  // alpha / √rank instead of alpha / rank
  // Modules of another rank or alpha, by their name or its end ("attn1.to_q"); the first that fits counts.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;

  // Throws ErrorKind::checkpoint for an adapter that is more than pairs of matrices added to W (DoRA, saved modules,
  // an initialisation that changes W), and for patterns that are regular expressions.
  static LoraConfig from_json(const JsonObject& json);
  // With the modules the adapter changes, which PEFT wants to know.
  nlohmann::json to_json(const std::vector<std::string>& modules) const;

  int64_t rank_of(const std::string& module) const;
  double alpha_of(const std::string& module) const;
};

}  // namespace glmimage
