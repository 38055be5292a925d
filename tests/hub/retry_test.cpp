#include "hub/retry.h"

#include <gmock/gmock.h>

namespace glmimage::hub {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

HttpOutcome with_status(int status, std::map<std::string, std::string> headers = {}) {
  HttpOutcome out;
  out.head.status = status;
  out.head.headers = std::move(headers);
  return out;
}

HttpOutcome broken() {
  HttpOutcome out;
  out.fault = "connection reset";
  return out;
}

TEST(Retry, WaitsTwiceAsLongFromTryToTry) {
  Retry retry({.tries = 9, .first_wait = milliseconds(100), .longest_wait = milliseconds(1000)});
  for (const int64_t most : {100, 200, 400, 800, 1000, 1000}) {
    const auto wait = retry.after(broken());
    ASSERT_TRUE(wait);
    EXPECT_GE(wait->count(), most / 2);
    EXPECT_LE(wait->count(), most);
  }
}

TEST(Retry, EndsAfterSoManyTriesWithoutProgress) {
  Retry retry({.tries = 3});
  EXPECT_TRUE(retry.after(broken()));
  EXPECT_TRUE(retry.after(with_status(503)));
  retry.progressed();
  EXPECT_TRUE(retry.after(broken()));
  EXPECT_TRUE(retry.after(broken()));
  EXPECT_FALSE(retry.after(broken()));
}

TEST(Retry, TriesAgainOnlyWhatMayHelp) {
  const RetryOptions options;
  for (const int status : {408, 416, 425, 429, 500, 502, 503, 504}) {
    EXPECT_TRUE(Retry(options).after(with_status(status))) << status;
  }
  for (const int status : {400, 401, 403, 404, 410, 451, 501}) {
    EXPECT_FALSE(Retry(options).after(with_status(status))) << status;
  }
  HttpOutcome certificate = broken();
  certificate.lasting = true;
  EXPECT_FALSE(Retry(options).after(certificate));
  HttpOutcome lie, full_disk;
  lie.thrown = std::make_exception_ptr(BadAnswer("too short"));
  full_disk.thrown = std::make_exception_ptr(Error(ErrorKind::io, "full"));
  EXPECT_TRUE(Retry(options).after(lie));
  EXPECT_FALSE(Retry(options).after(full_disk));
}

TEST(Retry, HeedsRetryAfter) {
  const RetryOptions options;
  EXPECT_GE(*Retry(options).after(with_status(429, {{"retry-after", "7"}})), seconds(7));
  EXPECT_FALSE(Retry(options).after(with_status(503, {{"retry-after", "301"}})));
  EXPECT_EQ(retry_after(with_status(429, {{"retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"}}).head), seconds(0));
  for (const char* text : {"", "-1", "soon", "7 apples", "99999999999999999999"}) {
    EXPECT_FALSE(retry_after(with_status(429, {{"retry-after", text}}).head)) << text;
  }
}

TEST(Retry, RemarksOfTheServerArePrintedOnlyIfTheyCanBe) {
  const Asked asked{.what = "a/b", .token_variable = "HF_TOKEN"};
  EXPECT_THAT(failure(with_status(403, {{"x-error-message", "Ask the owner"}}), asked).what(),
              HasSubstr("Ask the owner"));
  EXPECT_THAT(failure(with_status(403, {{"x-error-message", "\x1b[2J"}}), asked).what(), Not(HasSubstr("\x1b")));
}

TEST(ShownUrl, HidesSecrets) {
  EXPECT_EQ(shown_url("https://me:secret@host:8/a@b/c?Signature=x#y"), "https://host:8/a@b/c");
  EXPECT_EQ(shown_url("https://host/a?b=c@d"), "https://host/a");
}

}  // namespace
}  // namespace glmimage::hub
