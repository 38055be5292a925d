#include "train/config/train_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "train/data/data_helpers.h"

namespace glmimage::train {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(TrainConfig, EveryStageHasValidDefaults) {
  for (const char* stage : {"vae", "tokenizer", "dit", "ar"}) {
    const TrainConfig config = TrainConfig::of_stage(stage);
    EXPECT_EQ(config.stage, stage);
    config.check();
  }
  EXPECT_THAT(test::usage_error([] { TrainConfig::of_stage("dot"); }), HasSubstr("no stage 'dot'"));
}

// Every setting can be written, read and changed under its own name.
TEST(TrainConfig, EveryFieldRoundTrips) {
  TrainConfig first = TrainConfig::of_stage("dit"), second = TrainConfig::of_stage("ar");
  const FieldList from = first.fields(), to = second.fields();
  to.read(from.to_json(), "config.json");
  EXPECT_EQ(to.to_json(), from.to_json());
  std::set<std::string> names;
  for (const Field& field : from.fields()) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name << " is there twice";
    EXPECT_FALSE(field.help.empty()) << field.name;
  }
}

TEST(TrainConfig, SetsOneField) {
  TrainConfig config = TrainConfig::of_stage("dit");
  const FieldList list = config.fields();
  list.set("optimiser.weight_decay=0.5");
  list.set("dit.density=logit_normal");
  list.set("recompute=true");
  list.set("data_config.areas=[128, 256]");
  list.set("seed=18446744073709551615");
  list.set(R"(prompts=["a=b", "c"])");
  EXPECT_EQ(config.optimiser.weight_decay, 0.5);
  EXPECT_EQ(config.dit.density, Density::logit_normal);
  EXPECT_TRUE(config.recompute);
  EXPECT_EQ(config.data_config.areas, (std::vector<int64_t>{128, 256}));
  EXPECT_EQ(config.seed, 18446744073709551615U);
  EXPECT_EQ(config.prompts, (std::vector<std::string>{"a=b", "c"}));
}

TEST(TrainConfig, SaysWhatIsWrongAndWhatWasMeant) {
  TrainConfig config = TrainConfig::of_stage("dit");
  const FieldList list = config.fields();
  const auto set = [&](const char* text) { return test::usage_error([&] { list.set(text); }); };
  EXPECT_THAT(set("learning_rat=1"), HasSubstr("did you mean 'learning_rate'?"));
  EXPECT_THAT(set("weight_decay=1"), HasSubstr("did you mean 'optimiser.weight_decay'?"));
  EXPECT_THAT(set("xyzzy=1"), HasSubstr("--list-settings"));
  EXPECT_THAT(set("steps=many"), HasSubstr("--set steps=many: expected a whole number from 1"));
  EXPECT_THAT(set("steps=0"), HasSubstr("from 1"));
  EXPECT_THAT(set("seed=-1"), HasSubstr("from 0"));
  EXPECT_THAT(set("learning_rate=-1"), HasSubstr("expected a number from 0"));
  EXPECT_THAT(set("schedule=linear"), HasSubstr("expected one of cosine, constant"));
  EXPECT_THAT(set("recompute=1"), HasSubstr("true or false"));
  EXPECT_THAT(set("prompts=[1]"), HasSubstr("a list of texts"));
  EXPECT_THAT(set("steps"), HasSubstr("expected NAME=VALUE"));
  const auto read = [&](const char* text) {
    return test::usage_error([&] { list.read(json::parse(text), "my.json"); });
  };
  EXPECT_THAT(read(R"({"optimiser": {"beta3": 0}})"), HasSubstr("my.json: there is no setting 'optimiser.beta3'; did"));
  EXPECT_THAT(read(R"({"steps": "x"})"), HasSubstr("my.json: 'steps' is \"x\"; expected a whole number"));
  EXPECT_THAT(read("[]"), HasSubstr("expected a JSON object"));
}

TEST(TrainConfig, RefusesContradictions) {
  TrainConfig config = TrainConfig::of_stage("vae");
  config.lora.rank = 4;
  EXPECT_THAT(test::usage_error([&] { config.check(); }), HasSubstr("stage vae has no adapters"));
  config = TrainConfig::of_stage("dit");
  config.lora.alpha = 4;
  EXPECT_THAT(test::usage_error([&] { config.check(); }), HasSubstr("lora.rank is 0"));
  config = TrainConfig::of_stage("dit");
  config.prompts = {"a cat"};
  EXPECT_THAT(test::usage_error([&] { config.check(); }), HasSubstr("sample_every is 0"));
}

TEST(TrainConfig, RefusesDiscriminatorsThatCannotBe) {
  TrainConfig config = TrainConfig::of_stage("vae");
  config.vae.adversarial_from = 100;
  EXPECT_THAT(test::usage_error([&] { config.check(); }), HasSubstr("vae.adversarial, its weight, is 0"));
  config.vae.adversarial = 0.1;
  config.check();
  config.steps = 100;
  EXPECT_THAT(test::usage_error([&] { config.check(); }), HasSubstr("the term would never count"));
  config.vae.adversarial_from = 0;
  config.vae.discriminator_width = 30;
  EXPECT_THAT(test::usage_error([&] { config.check(); }), HasSubstr("expected a multiple of 4"));
}

TEST(TrainConfig, OnlyWhatIsTrainedMustStayTheSame) {
  const TrainConfig config = TrainConfig::of_stage("dit");
  TrainConfig other = config;
  other.steps = 7;
  other.save_every = 3;
  other.learning_rate = 0.5;
  EXPECT_TRUE(settings_that_differ(config, other).empty());
  other.batch = 3;
  other.dit.drop = 0.5;
  EXPECT_THAT(settings_that_differ(config, other), testing::ElementsAre("batch (32 -> 3)", "dit.drop (0.1 -> 0.5)"));
}

}  // namespace
}  // namespace glmimage::train
