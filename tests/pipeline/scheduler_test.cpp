#include "pipeline/scheduler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "core/error.h"
#include "core/safetensors.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using test::golden;

JsonObject config_file(const std::string& checkpoint) {
  return JsonObject::open(golden(checkpoint + "/checkpoint/scheduler/scheduler_config.json"));
}

class Scheduler : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Goldens, Scheduler, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(Scheduler, EqualsTheReferenceBitForBit) {
  const SchedulerConfig config = SchedulerConfig::from_json(config_file(GetParam()));
  const SafetensorsFile file = SafetensorsFile::open(golden(std::string(GetParam()) + "/schedule.safetensors"));
  int compared = 0;
  for (const TensorInfo& info : file.tensors()) {
    int width = 0, height = 0, steps = 0, end = 0;
    if (std::sscanf(info.name.c_str(), "%dx%dx%d.sigmas%n", &width, &height, &steps, &end) != 3 || end == 0) continue;
    const std::string key = info.name.substr(0, info.name.find('.'));
    const Schedule schedule = make_schedule(config, steps, width / 16 * (height / 16));
    EXPECT_EQ(schedule.steps(), steps);
    EXPECT_TRUE(at::equal(schedule.sigmas, file.tensor(key + ".sigmas"))) << key;
    EXPECT_TRUE(at::equal(schedule.timesteps, file.tensor(key + ".timesteps"))) << key;
    EXPECT_TRUE(at::equal(schedule.timesteps - 1, file.tensor(key + ".dit_times"))) << key;
    ++compared;
  }
  EXPECT_GE(compared, 5);
}

TEST_P(Scheduler, ConfigRoundTrips) {
  const JsonObject json = config_file(GetParam());
  EXPECT_EQ(SchedulerConfig::from_json(json).to_json(), json.value());
}

TEST(Schedule, PublishedValues) {
  const SchedulerConfig config;
  EXPECT_EQ(resolution_shift(config, 1024), 1.75);
  EXPECT_EQ(resolution_shift(config, 4096), 3.25);
  EXPECT_EQ(resolution_shift(config, 16384), 6.25);
  const Schedule three = make_schedule(config, 3, 1024);
  EXPECT_EQ(three.timesteps[1].item<float>(), 667);
  EXPECT_EQ(three.timesteps[2].item<float>(), 334);
  const Schedule fifty = make_schedule(config, 50, 4096);
  EXPECT_EQ(fifty.timesteps[49].item<float>(), 20);
  EXPECT_FLOAT_EQ(fifty.sigmas[1].item<float>(), 0.99375975f);
  EXPECT_FLOAT_EQ(fifty.sigmas[49].item<float>(), 0.06220096f);
  EXPECT_EQ(fifty.sigmas[50].item<float>(), 0);
}

TEST(Schedule, EveryCountFallsFromNoiseToPicture) {
  for (int64_t steps = 1; steps <= 1000; ++steps) {
    const Schedule s = make_schedule({}, steps, 4096);
    ASSERT_EQ(s.timesteps[0].item<float>(), 1000);
    ASSERT_EQ(s.sigmas[0].item<float>(), 1);
    ASSERT_TRUE((s.sigmas.narrow(0, 1, steps) < s.sigmas.narrow(0, 0, steps)).all().item<bool>()) << steps;
    ASSERT_GE(s.timesteps[steps - 1].item<float>(), 1);
  }
}

TEST(Schedule, RefusesCountsOutOfRange) {
  for (int64_t steps : {int64_t{0}, int64_t{-1}, int64_t{1001}}) {
    try {
      make_schedule({}, steps, 4096);
      ADD_FAILURE() << steps;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
    }
  }
}

TEST(SchedulerConfig, RefusesWhatItDoesNotImplementByName) {
  const nlohmann::json good = SchedulerConfig{}.to_json();
  for (const auto& [field, value] : std::map<std::string, nlohmann::json>{{"_class_name", "EulerDiscreteScheduler"},
                                                                          {"invert_sigmas", true},
                                                                          {"stochastic_sampling", true},
                                                                          {"use_karras_sigmas", true},
                                                                          {"use_exponential_sigmas", true},
                                                                          {"use_beta_sigmas", true},
                                                                          {"use_dynamic_shifting", false},
                                                                          {"time_shift_type", "exponential"},
                                                                          {"shift_terminal", 0.1},
                                                                          {"base_shift", nullptr},
                                                                          {"max_shift", -1.0},
                                                                          {"num_train_timesteps", 0},
                                                                          {"base_image_seq_len", nullptr}}) {
    nlohmann::json json = good;
    json[field] = value;
    try {
      SchedulerConfig::from_json({"scheduler_config.json", "", json});
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
      EXPECT_THAT(e.what(), ::testing::HasSubstr(field));
    }
  }
}

}  // namespace
}  // namespace glmimage
