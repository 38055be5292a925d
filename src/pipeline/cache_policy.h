#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace glmimage {

// How denoising steps may use what earlier steps computed (pipeline/step_cache.h).
enum class CacheMethod {
  none,         // every step runs every block
  first_block,  // a step whose first block does what it did before reuses what the other blocks did
  taylor,       // full steps at an interval, and between them none of the blocks: their output is extrapolated
};

// Numbers that are not set are the method's defaults.
struct CachePolicy {
  CacheMethod method = CacheMethod::none;
  std::optional<double> threshold = {};  // first_block: change of what the first block adds that is small enough
  std::optional<int64_t> interval = {};  // taylor: a full step every so many; first_block: one at least every so many

  // The same with defaults where nothing was said; what the method does not read stays unset.
  CachePolicy with_defaults() const;
  nlohmann::json to_json() const;  // {"method", "threshold", "interval"}, defaults filled in
};

constexpr double kDefaultCacheThreshold = 0.1;
constexpr int64_t kDefaultFirstBlockInterval = 4, kDefaultTaylorInterval = 3;

// "none", "first-block", "taylor". Throws ErrorKind::usage for any other text.
CacheMethod parse_cache_method(const std::string& text);
const char* cache_method_name(CacheMethod method);

// Throws ErrorKind::usage with one sentence: a number out of range, or one that the method does not read.
void validate(const CachePolicy& policy);
}  // namespace glmimage
