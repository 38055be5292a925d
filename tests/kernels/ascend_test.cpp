// Ascend's fused operators, played by the emulated device (tests/support/emulated_npu/vendor.h): taken when they are
// there and the inputs fit, with the arguments their documentation asks for, and else the composition.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/attention.h"
#include "kernels/device_form.h"
#include "kernels/device_operator.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "support/emulated_npu.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using Tensors = std::vector<at::Tensor>;
using Kernel = std::function<at::Tensor(const Tensors&)>;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

double tolerance(at::ScalarType type) { return type == at::kFloat ? 2e-6 : type == at::kHalf ? 2e-3 : 1.6e-2; }

class Ascend : public ::testing::Test {
 protected:
  void SetUp() override { npu.offer_operators(true); }
  void TearDown() override { npu.offer_operators(false); }

  Tensors moved(const Tensors& inputs, at::ScalarType type) const {
    Tensors out;
    for (const at::Tensor& t : inputs) {
      out.push_back(t.is_floating_point() ? t.to(npu.device(), type) : t.to(npu.device()));
    }
    return out;
  }

  // How often the operator is called, and that the result is the composition's of the same values in float64.
  int64_t calls(const std::string& op, const Kernel& kernel, const Tensors& inputs, at::ScalarType type) const {
    const Tensors here = moved(inputs, type);
    Tensors wide;
    for (const at::Tensor& t : here) wide.push_back(t.is_floating_point() ? t.cpu().to(at::kDouble) : t.cpu());
    npu.reset_counts();
    const at::Tensor got = kernel(here);
    const int64_t count = npu.ops("npu::" + op);
    EXPECT_EQ(got.device(), npu.device());
    EXPECT_EQ(got.scalar_type(), here[0].scalar_type());
    EXPECT_LT(test::relative_error(got.cpu(), kernel(wide)), tolerance(type)) << op << " of " << type;
    return count;
  }

  const test::EmulatedNpu npu = test::EmulatedNpu::open();
};

const auto kTypes = {at::kFloat, at::kHalf, at::kBFloat16};

Tensors angles(at::IntArrayRef shape) {
  const at::Tensor a = drawn(shape, 9);
  return {at::cos(a), at::sin(a)};
}

TEST_F(Ascend, RmsNorm) {
  const Kernel norm = [](const Tensors& t) { return rms_norm(t[0], t[1], 1e-5); };
  const Tensors inputs = {drawn({2, 3, 16}, 1), drawn({16}, 2)};
  for (const auto type : kTypes) EXPECT_EQ(calls("npu_rms_norm", norm, inputs, type), 1);
  const c10::InferenceMode without_history;
  EXPECT_EQ(calls("npu_rms_norm", norm, inputs, at::kBFloat16), 1);
  EXPECT_EQ(calls("npu_rms_norm", norm, {drawn({16}, 1), inputs[1]}, at::kFloat), 0) << "one dimension";
  EXPECT_EQ(calls("npu_rms_norm", norm, inputs, at::kDouble), 0);
  npu.offer_operators(false);
  for (const auto type : kTypes) EXPECT_EQ(calls("npu_rms_norm", norm, inputs, type), 0);
}

TEST_F(Ascend, Rope) {
  const auto used = [&](const Tensors& inputs, at::ScalarType type) {
    return calls(
        "npu_rotary_mul", [](const Tensors& t) { return rope(t[0], t[1], t[2]); }, inputs, type);
  };
  const Tensors whole = angles({1, 5, 1, 8}), part = angles({2, 5, 1, 4}), flat = angles({5, 1, 8});
  const at::Tensor x = drawn({2, 5, 3, 16}, 3);
  for (const auto type : kTypes) {
    EXPECT_EQ(used({x, whole[0], whole[1]}, type), 1);
    EXPECT_EQ(used({x, part[0], part[1]}, type), 1) << "half of the dims turn";
    EXPECT_EQ(used({x, flat[0], flat[1]}, type), 1);
  }
  EXPECT_EQ(used({x[0], flat[0], flat[1]}, at::kFloat), 0) << "three dimensions";
  EXPECT_EQ(used({drawn({1, 5, 1000, 16}, 3), whole[0], whole[1]}, at::kFloat), 0) << "1,000 heads";
  npu.offer_operators(false);
  EXPECT_EQ(used({x, whole[0], whole[1]}, at::kBFloat16), 0);
}

// The operator would round cosines to x's type.
TEST_F(Ascend, RopeOfFloat32AnglesIsTurnedInFloat32) {
  const Tensors turn = angles({1, 5, 1, 8});
  const at::Tensor x = drawn({1, 5, 2, 16}, 4).to(at::kBFloat16);
  npu.reset_counts();
  const at::Tensor got = rope(x.to(npu.device()), turn[0].to(npu.device()), turn[1].to(npu.device()));
  EXPECT_EQ(npu.ops("npu::npu_rotary_mul"), 1);
  EXPECT_TRUE(got.cpu().equal(rope(x, turn[0], turn[1])));
}

TEST_F(Ascend, SwiGlu) {
  const Kernel gate = [](const Tensors& t) { return swiglu(t[0]); };
  for (const auto type : kTypes) EXPECT_EQ(calls("npu_swiglu", gate, {drawn({2, 3, 16}, 5)}, type), 1);
  const Kernel strided = [](const Tensors& t) { return swiglu(t[0].transpose(0, 1)); };
  EXPECT_EQ(calls("npu_swiglu", strided, {drawn({2, 3, 16}, 5)}, at::kFloat), 0) << "values apart";
  npu.offer_operators(false);
  EXPECT_EQ(calls("npu_swiglu", gate, {drawn({2, 3, 16}, 5)}, at::kFloat), 0);
}

TEST_F(Ascend, AttentionAsItLiesInMemory) {
  const auto used = [&](const Kernel& kernel, const Tensors& inputs, at::ScalarType type) {
    return calls("npu_fused_infer_attention_score", kernel, inputs, type);
  };
  const Kernel outside = [](const Tensors& t) { return attention(t[0], t[1], t[2]); };
  const Kernel inside = [](const Tensors& t) {  // heads beside each other, as projections leave them
    return attention(t[0].transpose(1, 2), t[1].transpose(1, 2), t[2].transpose(1, 2), {.scale = 0.3});
  };
  const Tensors same = {drawn({2, 4, 5, 16}, 1), drawn({2, 4, 5, 16}, 2), drawn({2, 4, 5, 16}, 3)};
  const Tensors grouped = {drawn({2, 4, 5, 32}, 1), drawn({2, 2, 7, 32}, 2), drawn({2, 2, 7, 32}, 3)};
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    EXPECT_EQ(used(outside, same, type), 1);
    EXPECT_EQ(used(outside, grouped, type), 1) << "query heads share KV heads";
    EXPECT_EQ(used(inside, same, type), 1);
  }
  EXPECT_EQ(used(outside, same, at::kFloat), 0) << "float32";
  const Tensors odd = {drawn({1, 2, 3, 24}, 1), drawn({1, 2, 3, 24}, 2), drawn({1, 2, 3, 24}, 3)};
  EXPECT_EQ(used(outside, odd, at::kHalf), 0) << "a width that is no multiple of 16";
  const Kernel causal = [](const Tensors& t) { return attention(t[0], t[1], t[2], {.mask = Mask::causal}); };
  EXPECT_EQ(used(causal, same, at::kHalf), 0);
  const Kernel biased = [](const Tensors& t) { return attention(t[0], t[1], t[2], {.bias = t[3]}); };
  EXPECT_EQ(used(biased, {same[0], same[1], same[2], drawn({5, 5}, 4)}, at::kHalf), 0);
  npu.offer_operators(false);
  EXPECT_EQ(used(outside, same, at::kHalf), 0);
}

// A cache is handed over whole: nothing is copied out of it, and what is not written yet is not looked at.
TEST_F(Ascend, AttentionOverTheFirstKeysOfACache) {
  for (const bool offered : {true, false}) {
    npu.offer_operators(offered);
    const at::Tensor q = drawn({1, 4, 1, 16}, 1).to(at::kBFloat16);
    at::Tensor k = drawn({1, 2, 9, 16}, 2).to(at::kBFloat16), v = drawn({1, 2, 9, 16}, 3).to(at::kBFloat16);
    const at::Tensor expected = attention(q, k.narrow(2, 0, 6), v.narrow(2, 0, 6));
    for (at::Tensor* slots : {&k, &v}) slots->narrow(2, 6, 3).fill_(std::numeric_limits<float>::quiet_NaN());
    EXPECT_LT(test::relative_error(attention(q, k, v, {.keys = 6}), expected), 1e-6);
    const at::Tensor there_k = k.to(npu.device()), there_v = v.to(npu.device()), there_q = q.to(npu.device());
    npu.reset_counts();
    EXPECT_LT(test::relative_error(attention(there_q, there_k, there_v, {.keys = 6}).cpu(), expected), 1e-2);
    EXPECT_EQ(npu.ops("npu::npu_fused_infer_attention_score"), offered ? 1 : 0);
  }
}

// Gradients of the device's operators, or of the composition where they have none.
TEST_F(Ascend, GradientsAreTheCompositions) {
  struct Case {
    const char* op;
    int64_t used;
    Kernel kernel;
    Tensors inputs;
    at::ScalarType type;
  };
  const Tensors turn = angles({1, 5, 1, 8});
  const Quantised few = quantise(drawn({8, 64}, 4), 8, 0);
  const std::vector<Case> cases = {
      {"npu_rms_norm",
       1,
       [](const Tensors& t) { return rms_norm(t[0], t[1], 1e-5); },
       {drawn({2, 3, 16}, 1), drawn({16}, 2)},
       at::kFloat},
      {"npu_rotary_mul",
       1,
       [&](const Tensors& t) {
         return rope(t[0], turn[0].to(t[0].device(), t[0].scalar_type()),
                     turn[1].to(t[0].device(), t[0].scalar_type()));
       },
       {drawn({1, 5, 2, 16}, 3)},
       at::kFloat},
      {"npu_rotary_mul",
       0,
       [](const Tensors& t) { return rope(t[0], t[1], t[2]); },
       {drawn({1, 5, 2, 16}, 3), turn[0], turn[1]},
       at::kFloat},  // angles that learn
      {"npu_swiglu", 1, [](const Tensors& t) { return swiglu(t[0]); }, {drawn({3, 16}, 5)}, at::kFloat},
      {"npu_fused_infer_attention_score",
       0,
       [](const Tensors& t) { return attention(t[0], t[1], t[2]); },
       {drawn({1, 2, 3, 16}, 1), drawn({1, 2, 3, 16}, 2), drawn({1, 2, 3, 16}, 3)},
       at::kBFloat16},
      {"npu_weight_quant_batchmatmul",
       0,
       [&](const Tensors& t) { return quantised_linear(t[0], few.q.to(t[0].device()), few.scale.to(t[0].device())); },
       {drawn({3, 64}, 1)},
       at::kBFloat16},
  };
  for (const Case& each : cases) {
    const auto gradients = [&](at::Device device, at::ScalarType type) {
      Tensors leaves;
      for (const at::Tensor& t : each.inputs) leaves.push_back(t.to(each.type).to(device, type).requires_grad_(true));
      const at::Tensor y = each.kernel(leaves);
      return torch::autograd::grad({y}, leaves, {drawn(y.sizes(), 77).to(device, type)});
    };
    npu.reset_counts();
    const Tensors got = gradients(npu.device(), each.type);
    EXPECT_EQ(npu.ops(std::string("npu::") + each.op), each.used) << each.op;
    const Tensors expected = gradients(at::kCPU, at::kDouble);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LT(test::relative_error(got[i].cpu(), expected[i]), tolerance(each.type)) << each.op << " " << i;
    }
  }
}

// The values a matrix of few bits stands for.
at::Tensor matrix_of(const Quantised& few) { return dequantise(few.q, few.scale, at::kFloat); }

struct Product {
  int64_t bits, group, tokens;
  bool bias;
  at::ScalarType type;
};

class AscendProducts : public Ascend {
 protected:
  // The product on the device and the same of full width; which operators were called.
  void check(const Product& p, const char* op, double allowed) {
    const Quantised few = quantise(drawn({24, 128}, 6), p.bits, p.group);
    const at::Tensor x = drawn({1, p.tokens, 128}, 7).to(p.type);
    std::optional<at::Tensor> bias;
    if (p.bias) bias = drawn({24}, 8).to(p.type);
    at::Tensor expected = x.to(at::kFloat).matmul(matrix_of(few).t());
    if (bias) expected = expected + bias->to(at::kFloat);
    const Quantised there = device_form({few.q.to(npu.device()), few.scale.to(npu.device())}, p.type);
    if (bias) bias = bias->to(npu.device());
    const at::Tensor moved = x.to(npu.device());
    npu.reset_counts();
    const at::Tensor y = quantised_linear(moved, there.q, there.scale, bias);
    EXPECT_EQ(y.sizes(), (std::vector<int64_t>{1, p.tokens, 24}));
    EXPECT_EQ(y.scalar_type(), p.type);
    EXPECT_LT(test::relative_error(y.cpu(), expected), allowed);
    for (const std::string name : {"npu_weight_quant_batchmatmul", "npu_quant_matmul"}) {
      EXPECT_EQ(npu.ops("npu::" + name), name == op ? 1 : 0) << p.bits << " bits, groups of " << p.group;
    }
    EXPECT_EQ(npu.ops("npu::npu_dynamic_quant"), npu.ops("npu::npu_quant_matmul"));
  }
};

TEST_F(AscendProducts, FewBits) {
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    for (const int64_t bits : {8, 4}) {
      for (const int64_t group : {0, 32, 64}) {
        for (const bool bias : {false, true}) {
          check({bits, group, 3, bias, type}, "npu_weight_quant_batchmatmul", tolerance(type));
        }
      }
      check({bits, 64, 40, true, type}, "npu_weight_quant_batchmatmul", tolerance(type));
    }
    check({4, 0, 40, true, type}, "npu_weight_quant_batchmatmul", tolerance(type));
  }
}

TEST_F(AscendProducts, ManyTokensOfOneScaleARowAreMultipliedInBytes) {
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    check({8, 0, 17, true, type}, "npu_quant_matmul", 2e-2);
    check({8, 0, 17, false, type}, "npu_quant_matmul", 2e-2);
    check({8, 0, 16, true, type}, "npu_weight_quant_batchmatmul", tolerance(type));
  }
}

TEST_F(AscendProducts, WhatDoesNotFitIsWrittenOut) {
  check({8, 16, 3, true, at::kBFloat16}, "", tolerance(at::kBFloat16));  // groups of 16
  check({4, 16, 3, true, at::kBFloat16}, "", tolerance(at::kBFloat16));
  check({8, 64, 3, true, at::kFloat}, "", tolerance(at::kFloat));
  check({4, 64, 3, true, at::kFloat}, "", tolerance(at::kFloat));
  npu.offer_operators(false);
  check({8, 0, 40, true, at::kBFloat16}, "", tolerance(at::kBFloat16));
  check({4, 64, 3, true, at::kBFloat16}, "", tolerance(at::kBFloat16));
}

// The device's form says the same, also where the operator cannot take the tokens.
TEST_F(AscendProducts, SignedHalves) {
  const Quantised few = quantise(drawn({24, 128}, 6), 4, 32);
  const Quantised there = device_form({few.q.to(npu.device()), few.scale.to(npu.device())}, at::kHalf);
  EXPECT_EQ(there.q.scalar_type(), at::kInt);
  EXPECT_EQ(there.q.sizes(), (std::vector<int64_t>{24, 16}));
  EXPECT_EQ(there.q.nbytes(), few.q.nbytes());
  EXPECT_TRUE(file_form(there.q).cpu().equal(few.q));
  EXPECT_TRUE(matrix_of(there).cpu().equal(matrix_of(few)));
  const at::Tensor x = drawn({2, 128}, 1);
  npu.reset_counts();
  EXPECT_LT(test::relative_error(quantised_linear(x.to(npu.device()), there.q, there.scale).cpu(),
                                 quantised_linear(x, few.q, few.scale)),
            1e-6);
  EXPECT_EQ(npu.ops("npu::npu_weight_quant_batchmatmul"), 0) << "float32 tokens";
  EXPECT_EQ(device_form(there, at::kHalf).q.data_ptr(), there.q.data_ptr()) << "made once";
  EXPECT_EQ(device_form(few, at::kHalf).q.data_ptr(), few.q.data_ptr()) << "a processor's stay";
}

// Another version's schema: what it adds with a default is filled in, what it adds without, or misses, is refused.
TEST(DeviceOperators, ArgumentsGoByName) {
  const at::Tensor x = drawn({2, 3}, 1), y = drawn({3, 2}, 2);
  const DeviceOperator gelu("aten::gelu", c10::DispatchKey::CPU), mm("aten::mm", c10::DispatchKey::CPU);
  EXPECT_TRUE(gelu.call({{"self", x}})[0].equal(at::gelu(x)));
  EXPECT_TRUE(mm.call({{"mat2", y}, {"self", x}})[0].equal(x.mm(y)));
  for (const auto& call : std::vector<std::function<void()>>{[&] {
                                                               mm.call({{"self", x}});
                                                             },
                                                             [&] {
                                                               mm.call({{"self", x}, {"mat2", y}, {"mat3", y}});
                                                             }}) {
    try {
      call();
      ADD_FAILURE() << "was taken";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::device);
      EXPECT_NE(std::string(e.what()).find("another version"), std::string::npos) << e.what();
    }
  }
  EXPECT_FALSE(DeviceOperator("npu::npu_no_such", c10::DispatchKey::PrivateUse1).serves({}));
  EXPECT_FALSE(DeviceOperator("aten::mm", c10::DispatchKey::CUDA).serves({})) << "no such device here";
}

}  // namespace
}  // namespace glmimage::kernels
