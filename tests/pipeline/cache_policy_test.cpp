#include "pipeline/cache_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "pipeline/request.h"

namespace glmimage {
namespace {

using nlohmann::json;

// What a request with this policy is told.
std::string refusal(const CachePolicy& policy) {
  GenerateRequest request;
  request.prompt = "a cat";
  request.cache = policy;
  try {
    validate(request);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "";
}

TEST(CachePolicy, NamesGoBothWays) {
  for (const CacheMethod method : {CacheMethod::none, CacheMethod::first_block, CacheMethod::taylor}) {
    EXPECT_EQ(parse_cache_method(cache_method_name(method)), method);
  }
  for (const char* text : {"", "first_block", "Taylor", "none "}) {
    try {
      parse_cache_method(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), ::testing::HasSubstr(concat("first-block or taylor, not '", text, "'")));
    }
  }
}

TEST(CachePolicy, RefusesWhatIsOutOfRange) {
  for (const double threshold : {-0.1, 100.1, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(refusal({.method = CacheMethod::first_block, .threshold = threshold}),
                ::testing::HasSubstr("threshold must be between 0 and 100"));
  }
  for (const CacheMethod method : {CacheMethod::first_block, CacheMethod::taylor}) {
    for (const int64_t interval : {int64_t{-1}, int64_t{0}, int64_t{1001}}) {
      EXPECT_THAT(refusal({.method = method, .interval = interval}),
                  ::testing::HasSubstr("interval must be between 1"));
    }
    EXPECT_EQ(refusal({.method = method, .interval = 1}), "");
  }
  EXPECT_EQ(refusal({.method = CacheMethod::first_block, .threshold = 0, .interval = 1000}), "");
}

TEST(CachePolicy, RefusesWhatTheMethodDoesNotRead) {
  EXPECT_THAT(refusal({.threshold = 0.1}), ::testing::HasSubstr("threshold goes with the cache first-block"));
  EXPECT_THAT(refusal({.method = CacheMethod::taylor, .threshold = 0.1}), ::testing::HasSubstr("not with taylor"));
  EXPECT_THAT(refusal({.interval = 3}), ::testing::HasSubstr("interval goes with the caches first-block and taylor"));
  EXPECT_EQ(refusal({}), "");
}

TEST(CachePolicy, TellsTheNumbersItsMethodReads) {
  EXPECT_EQ(CachePolicy{}.to_json(), (json{{"method", "none"}}));
  EXPECT_EQ(CachePolicy{.method = CacheMethod::taylor}.to_json(),
            (json{{"method", "taylor"}, {"interval", kDefaultTaylorInterval}}));
  EXPECT_EQ((CachePolicy{.method = CacheMethod::first_block, .threshold = 0.25}.to_json()),
            (json{{"method", "first-block"}, {"threshold", 0.25}, {"interval", kDefaultFirstBlockInterval}}));
}

}  // namespace
}  // namespace glmimage
