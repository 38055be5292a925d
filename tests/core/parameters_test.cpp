#include "core/parameters.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
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

// A module whose matrix may be of few bits.
struct Matrix {
  at::Tensor weight, scale;  // (2, 64)
  ParameterList list() { return {{"layer.weight", &weight, {2, 64}, Init::normal(0.5), false, nullptr, &scale}}; }
};

TEST(Parameters, MatricesOfFewBitsKeepTheirTypes) {
  const at::Tensor bytes = at::arange(128, at::kLong).to(at::kChar).view({2, 64});
  const at::Tensor words = at::arange(16, at::kInt).view({2, 8}), scale = at::ones({2, 1}, at::kBFloat16);
  Matrix eight, four;
  load_parameters(eight.list(), saved({{"layer.weight", bytes}, {"layer.weight_scale", scale}}), {.dtype = at::kFloat});
  EXPECT_TRUE(eight.weight.equal(bytes));
  EXPECT_EQ(eight.scale.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(eight.list()[0].quantised());
  load_parameters(four.list(),
                  saved({{"layer.weight_packed", words},
                         {"layer.weight_scale", scale.to(at::kHalf)},
                         {"layer.weight_shape", at::tensor({2, 64}, at::kLong)}}),
                  {.dtype = at::kFloat});
  EXPECT_TRUE(four.weight.equal(words.view(at::kByte)));
  EXPECT_EQ(four.scale.scalar_type(), at::kFloat) << "kernels take no float16";
  // What is written is what was read.
  for (Matrix* module : {&eight, &four}) {
    Matrix again;
    load_parameters(again.list(), saved(named_tensors(module->list(), at::kBFloat16)), {});
    EXPECT_TRUE(again.weight.equal(module->weight));
    EXPECT_TRUE(again.scale.equal(module->scale));
  }
  // One of floats in its place leaves no scales behind.
  load_parameters(eight.list(), saved({{"layer.weight", at::ones({2, 64})}}), {});
  EXPECT_FALSE(eight.list()[0].quantised());
}

TEST(Parameters, BrokenMatricesOfFewBitsAreNamed) {
  const at::Tensor bytes = at::zeros({2, 64}, at::kChar), words = at::zeros({2, 8}, at::kInt);
  const at::Tensor scale = at::ones({2, 1});
  const auto refused = [](const NamedTensors& tensors) -> std::string {
    Matrix module;
    try {
      load_parameters(module.list(), saved(tensors), {});
    } catch (const Error& e) {
      return e.kind() == ErrorKind::checkpoint ? e.what() : "another kind";
    }
    return "accepted";
  };
  EXPECT_THAT(refused({{"layer.weight", bytes}}), HasSubstr("layer.weight_scale is missing"));
  EXPECT_THAT(refused({{"layer.weight", bytes}, {"layer.weight_scale", at::ones({3, 1})}}),
              HasSubstr("layer.weight_scale is (3, 1), expected (2, groups of 64)"));
  EXPECT_THAT(refused({{"layer.weight", bytes}, {"layer.weight_scale", at::ones({2, 5})}}), HasSubstr("(2, 5)"));
  EXPECT_THAT(refused({{"layer.weight", bytes}, {"layer.weight_scale", at::ones({2, 0})}}), HasSubstr("(2, 0)"));
  EXPECT_THAT(refused({{"layer.weight", bytes}, {"layer.weight_scale", scale.to(at::kInt)}}), HasSubstr("I32"));
  EXPECT_THAT(refused({{"layer.weight", at::zeros({2, 63}, at::kChar)}, {"layer.weight_scale", scale}}),
              HasSubstr("(2, 63)"));
  EXPECT_THAT(refused({{"layer.weight_packed", at::zeros({2, 7}, at::kInt)}, {"layer.weight_scale", scale}}),
              HasSubstr("layer.weight_packed is (2, 7), expected (2, 8)"));
  EXPECT_THAT(refused({{"layer.weight_packed", words.to(at::kLong)}, {"layer.weight_scale", scale}}),
              HasSubstr("expected I32"));
  // Both forms at once: one of them is not expected.
  EXPECT_THAT(refused({{"layer.weight", bytes}, {"layer.weight_packed", words}, {"layer.weight_scale", scale}}),
              HasSubstr("1 unexpected: layer.weight"));
}

}  // namespace
}  // namespace glmimage
