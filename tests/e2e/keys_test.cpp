#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "e2e/program.h"

namespace glmimage::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class KeysCommandTest : public testing::Test {
 protected:
  void SetUp() override { folder_ = scratch_folder(); }
  ProcessResult keys(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "keys");
    ProcessOptions options = glm_image(arguments);
    options.environment["GLM_IMAGE_DATA"] = (folder_ / "data").string();
    return run_process(options);
  }
  std::filesystem::path folder_;
};

TEST_F(KeysCommandTest, AKeyIsMadeListedAndRevoked) {
  const ProcessResult made = keys({"add", "phone app", "--requests-per-minute", "60", "--queue-share", "4"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, MatchesRegex("gi_[0-9A-Za-z]{43}\n"));
  const ProcessResult listed = keys({"list"});
  EXPECT_THAT(listed.out, HasSubstr("phone app"));
  EXPECT_THAT(listed.out, Not(HasSubstr(made.out.substr(3, 20))));
  const json before = json::parse(keys({"list", "--json"}).out);
  EXPECT_EQ(before.at(0).at("requests_per_minute"), 60);
  EXPECT_EQ(before.at(0).at("queue_share"), 4);
  EXPECT_TRUE(before.at(0).at("revoked").is_null());
  EXPECT_EQ(keys({"revoke", "phone app"}).exit_code, 0);
  EXPECT_TRUE(json::parse(keys({"list", "--json"}).out).at(0).at("revoked").is_number());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "data/queue.sqlite"));
}

TEST_F(KeysCommandTest, BadUsageIsRefused) {
  expect_failure(keys({"revoke", "nobody"}), 2, {"nobody"});
  expect_failure(keys({"add", ""}), 2, {"1 to 100 bytes"});
  expect_failure(keys({"add", "x", "--queue-share", "-1"}), 2, {"--queue-share"});
  expect_failure(keys({"list", "--queue", (folder_ / "no folder/q.sqlite").string()}), 1, {"cannot be opened"});
  expect_failure(keys({"list", "--queue", "postgresql:///x?host=/nonexistent"}), 1, {"cannot be reached"});
}

}  // namespace
}  // namespace glmimage::test
