// `glm-image plan` as its users meet it.
#include <gmock/gmock.h>

#include "e2e/program.h"

namespace glmimage {
namespace {

using nlohmann::json;
using test::glm_image;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;

ProcessResult plan(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "plan");
  return run_process(glm_image(std::move(arguments)));
}

TEST(PlanCommand, TellsMemoryNetworkAndTime) {
  const std::vector<std::string> arguments = {"--stage",     "dit",        "--devices",  "64",
                                              "--device",    "ascend910b", "--sharding", "zero1",
                                              "--recompute", "--pictures", "1e6"};
  const ProcessResult text = plan(arguments);
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* each : {"64 x ascend910b", "activations", "sent by a device", "MFU", "1e+06 pictures", "assumed"}) {
    EXPECT_THAT(text.out, HasSubstr(each));
  }
  std::vector<std::string> with_json = arguments;
  with_json.push_back("--json");
  const json value = json::parse(plan(with_json).out);
  EXPECT_EQ(value["sharding"], "zero1");
  EXPECT_EQ(value["memory"]["fits"], true);
  EXPECT_NEAR(value["seconds_for_pictures"].get<double>() * value["pictures_per_second"].get<double>(), 1e6, 1);
}

TEST(PlanCommand, RefusesWhatDoesNotFitAndSaysWhatWould) {
  expect_failure(plan({"--stage", "dit", "--devices", "8"}), 5, {"does not fit", "--sharding zero3", "--recompute"});
  const ProcessResult result = plan({"--stage", "ar", "--devices", "1", "--json"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(json::parse(result.out)["error"]["message"].get<std::string>(), HasSubstr("--devices"));
}

TEST(PlanCommand, ReadsACheckpointsSizes) {
  const ProcessResult result = plan({"--stage", "ar", "--model", test::checkpoint("tiny_a"), "--device", "cpu",
                                     "--precision", "float32", "--width", "64", "--height", "64", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LT(json::parse(result.out)["parameters"].get<int64_t>(), 10'000'000);
  EXPECT_GT(json::parse(result.out)["parameters"].get<int64_t>(), 1000);
}

TEST(PlanCommand, RefusesBadUsage) {
  expect_failure(plan({"--device", "abacus"}), 2, {"abacus", "ascend910b"});
  expect_failure(plan({"--sharding", "zero9"}), 2, {"zero9"});
  expect_failure(plan({"--precision", "int8"}), 2, {"int8"});
  expect_failure(plan({"--stage", "glyph"}), 2, {"glyph"});
  expect_failure(plan({"--model", "no/such/model"}), 3, {"no/such/model"});
}

}  // namespace
}  // namespace glmimage
