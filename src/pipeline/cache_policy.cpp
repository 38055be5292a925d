#include "pipeline/cache_policy.h"

#include <array>

#include "core/error.h"

namespace glmimage {
namespace {

struct Named {
  const char* name;
  CacheMethod method;
};
constexpr std::array<Named, 3> kMethods = {
    {{"none", CacheMethod::none}, {"first-block", CacheMethod::first_block}, {"taylor", CacheMethod::taylor}}};

}  // namespace

CacheMethod parse_cache_method(const std::string& text) {
  for (const Named& each : kMethods) {
    if (text == each.name) return each.method;
  }
  fail(ErrorKind::usage, "the cache must be none, first-block or taylor, not '", text, "'");
}

const char* cache_method_name(CacheMethod method) {
  for (const Named& each : kMethods) {
    if (method == each.method) return each.name;
  }
  fail(ErrorKind::internal, "a cache method without a name");
}

void validate(const CachePolicy& policy) {
  if (policy.threshold && policy.method != CacheMethod::first_block) {
    fail(ErrorKind::usage, "the cache threshold goes with the cache first-block, not with ",
         cache_method_name(policy.method));
  }
  if (policy.interval && policy.method == CacheMethod::none) {
    fail(ErrorKind::usage, "the cache interval goes with the caches first-block and taylor, not with none");
  }
  if (policy.threshold && !(*policy.threshold >= 0 && *policy.threshold <= 100)) {
    fail(ErrorKind::usage, "the cache threshold must be between 0 and 100, not ", *policy.threshold);
  }
  if (policy.interval && (*policy.interval < 1 || *policy.interval > 1000)) {
    fail(ErrorKind::usage, "the cache interval must be between 1 (every step is a full one) and 1000, not ",
         *policy.interval);
  }
}

CachePolicy CachePolicy::with_defaults() const {
  CachePolicy policy = *this;
  switch (policy.method) {
    case CacheMethod::none: break;
    case CacheMethod::first_block:
      policy.threshold = policy.threshold.value_or(kDefaultCacheThreshold);
      policy.interval = policy.interval.value_or(kDefaultFirstBlockInterval);
      break;
    case CacheMethod::taylor: policy.interval = policy.interval.value_or(kDefaultTaylorInterval); break;
  }
  return policy;
}

nlohmann::json CachePolicy::to_json() const {
  const CachePolicy full = with_defaults();
  nlohmann::json out = {{"method", cache_method_name(method)}};
  if (full.threshold) out["threshold"] = *full.threshold;
  if (full.interval) out["interval"] = *full.interval;
  return out;
}

}  // namespace glmimage
