#include "core/parameters.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Module {
  at::Tensor weight;  // (2, 3)
  at::Tensor bias;    // (2)
  at::Tensor extra;   // (4); optional
  ParameterList list() {
    return {{"layer.weight", &weight, {2, 3}, Init::normal(0.5)},
            {"layer.bias", &bias, {2}, Init::zeros()},
            {"layer.extra", &extra, {4}, Init::ones(), true}};
  }
};

WeightFiles saved(const NamedTensors& tensors) {
  const fs::path folder = test::scratch_folder();
  write_safetensors(folder / "model.safetensors", tensors);
  return WeightFiles::open(folder);
}

TEST(Parameters, SaveAndLoadAgree) {
  Module a, b;
  init_parameters(a.list(), make_generator(3));
  const WeightFiles files = saved(named_tensors(a.list()));
  load_parameters(b.list(), files, {});
  EXPECT_TRUE(a.weight.equal(b.weight));
  EXPECT_TRUE(a.extra.equal(b.extra));
  EXPECT_EQ(count_elements(a.list()), 6 + 2 + 4);
  // In the stored type on the CPU nothing is copied: both reads see the same mapped bytes.
  EXPECT_EQ(b.weight.const_data_ptr(), files.tensor("layer.weight").const_data_ptr());
}

TEST(Parameters, CastsWhenAsked) {
  Module a, b;
  init_parameters(a.list(), make_generator(3));
  const NamedTensors half = named_tensors(a.list(), at::kBFloat16);
  EXPECT_EQ(half.front().second.scalar_type(), at::kBFloat16);
  load_parameters(b.list(), saved(half), {.dtype = at::kFloat});
  EXPECT_EQ(b.weight.scalar_type(), at::kFloat);
  EXPECT_TRUE(b.weight.equal(a.weight.to(at::kBFloat16).to(at::kFloat)));
}

TEST(Parameters, OptionalMayBeAbsent) {
  Module m;
  load_parameters(m.list(), saved({{"layer.weight", at::ones({2, 3})}, {"layer.bias", at::ones({2})}}), {});
  EXPECT_FALSE(m.extra.defined());
  EXPECT_EQ(named_tensors(m.list()).size(), 2U);
}

TEST(Parameters, ReportsAllFaultsAtOnce) {
  Module m;
  const WeightFiles files = saved({{"layer.weight", at::ones({3, 2})},
                                   {"layer.extra", at::ones({4}, at::kLong)},
                                   {"layer.surprise", at::ones({1})},
                                   {"other.x", at::ones({1})}});
  try {
    load_parameters(m.list(), files, {}, {"other."});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    const std::string message = e.what();
    EXPECT_THAT(message, HasSubstr("1 missing: layer.bias"));
    EXPECT_THAT(message, HasSubstr("layer.weight is (3, 2), expected (2, 3)"));
    EXPECT_THAT(message, HasSubstr("layer.extra has the type I64"));
    EXPECT_THAT(message, AllOf(HasSubstr("1 unexpected: layer.surprise"), Not(HasSubstr("other.x"))));
  }
  EXPECT_FALSE(m.weight.defined());  // nothing was loaded
}

TEST(Parameters, InitFollowsTheGenerator) {
  Module a, b;
  init_parameters(a.list(), make_generator(3));
  init_parameters(b.list(), make_generator(3));
  EXPECT_TRUE(a.weight.equal(b.weight));
  EXPECT_TRUE(a.weight.equal(at::randn({2, 3}, make_generator(3)) * 0.5));
  EXPECT_TRUE(a.bias.equal(at::zeros({2})));
  EXPECT_TRUE(a.extra.equal(at::ones({4})));
}

}  // namespace
}  // namespace glmimage
