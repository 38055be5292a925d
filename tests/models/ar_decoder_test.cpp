#include "models/ar/decoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/linear.h"
#include "models/layers/device_form.h"
#include "support/emulated_npu.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

ArConfig config() {
  ArConfig c;
  c.vocab_size = 40, c.visual_vocab_size = 20, c.codebook_size = 16;
  c.hidden_size = 64, c.layers = 2, c.intermediate_size = 96, c.heads = 4, c.kv_heads = 2, c.head_dim = 16;
  c.partial_rotary_factor = 1.0, c.mrope_section = {4, 2, 2};
  c.begin_image_id = 16, c.end_image_id = 17, c.image_placeholder_id = 39;
  c.initializer_range = 0.2;
  return c;
}

// A model with random weights, and what it says of a sequence when tokens are fed one by one.
class Decoding : public ::testing::Test {
 protected:
  static constexpr int64_t kPrompt = 3, kTokens = 9;

  void SetUp() override {
    parameters.clear();
    model.list(parameters);
    init_parameters(parameters, make_generator(5));
  }
  void move(at::Device device, at::ScalarType type) {
    for (const Parameter& p : parameters) {
      *p.tensor = p.quantised() ? p.tensor->to(device) : p.tensor->to(device, type);
      if (p.quantised()) *p.scale = p.scale->to(device);
    }
  }
  // Matrices of the layers become few bits.
  void quantise(int64_t bits, int64_t group) {
    for (const Parameter& p : parameters) {
      if (!p.scale || p.name == "lm_head.weight") continue;
      const kernels::Quantised few = kernels::quantise(*p.tensor, bits, group);
      *p.tensor = few.q;
      *p.scale = few.scale;
    }
  }

  // The prompt, then an ArDecoder for the rest; `watch` is called before and after each step. -> (tokens, Vv) on the
  // CPU.
  template <typename Watch>
  at::Tensor decode(Fill fill, const Watch& watch) {
    const at::Device device = model.embed_tokens.weight.device();
    const Rope rope = model.rope(positions.narrow(2, kPrompt, kTokens - kPrompt));
    KvCache cache(model.config, 1, kTokens, model.embed_tokens.weight, fill);
    model.prefill(model.embed(ids.narrow(1, 0, kPrompt).to(device)), model.rope(positions.narrow(2, 0, kPrompt)),
                  cache);
    ArDecoder decoder(model, cache, rope);
    const at::Tensor there = ids.to(device);
    std::vector<at::Tensor> logits;
    for (int64_t t = kPrompt; t < kTokens; ++t) {
      const at::Tensor id = there.select(0, 0).narrow(0, t, 1);
      watch(decoder, cache, [&] { decoder.feed(id); });
      logits.push_back(decoder.logits().to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true));
    }
    EXPECT_EQ(cache.length(), kTokens);
    EXPECT_THROW(decoder.step(), Error) << "the cache is full";
    return at::cat(logits);
  }
  at::Tensor decode(Fill fill) {
    return decode(fill, [](ArDecoder&, KvCache&, const auto& feed) { feed(); });
  }
  at::Tensor teacher_forced() {
    const at::Tensor hidden = model.forward(model.embed(ids), model.rope(positions));
    return model.logits(hidden)[0].narrow(0, kPrompt, kTokens - kPrompt);
  }

  c10::InferenceMode inference;
  ArModel model{config()};
  ParameterList parameters;
  at::Tensor ids = at::randint(40, {1, kTokens}, make_generator(6), at::kLong);
  at::Tensor positions = at::arange(kTokens, at::kLong).view({1, 1, kTokens}).expand({3, 1, kTokens});
};

TEST_F(Decoding, EqualsTeacherForcedWhoeverKnowsTheLength) {
  model.fuse();
  const at::Tensor expected = teacher_forced();
  EXPECT_LT(test::relative_error(decode(Fill::host), expected), 1e-5);
  EXPECT_LT(test::relative_error(decode(Fill::device), expected), 1e-5);
}

TEST_F(Decoding, EqualsTeacherForcedOnADevice) {
  const at::Tensor expected = teacher_forced();
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  for (const bool offered : {false, true}) {
    npu.offer_operators(offered);
    move(npu.device(), at::kFloat);
    model.fuse();
    EXPECT_LT(test::relative_error(decode(Fill::host), expected), 1e-5);
    EXPECT_LT(test::relative_error(decode(Fill::device), expected), 1e-5);
    move(npu.device(), at::kBFloat16);
    model.fuse();
    EXPECT_LT(test::relative_error(decode(Fill::host), expected), 5e-2);
    EXPECT_LT(test::relative_error(decode(Fill::device), expected), 5e-2);
    move(at::kCPU, at::kFloat);
    SetUp();  // bfloat16 has rounded them
  }
  npu.offer_operators(false);
}

// What a device needs to record a step and replay it: nothing comes from the host, results stand where they stood, and
// every token takes as much new memory.
TEST_F(Decoding, StepsOfADeviceFilledCacheAreAllAlike) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  move(npu.device(), at::kFloat);
  model.fuse();
  std::vector<int64_t> allocated, operators;
  std::vector<const void*> addresses;
  decode(Fill::device, [&](ArDecoder& decoder, KvCache& cache, const auto& feed) {
    const int64_t live = npu.live_bytes();
    npu.reset_counts();
    feed();
    EXPECT_EQ(npu.bytes_to_host(), 0);
    EXPECT_EQ(npu.bytes_to_device(), 0);
    EXPECT_EQ(npu.live_bytes(), live) << "nothing is left behind";
    allocated.push_back(npu.allocated_bytes());
    operators.push_back(npu.ops());
    for (const at::Tensor& t : {decoder.id(), decoder.logits(), cache.keys(0), cache.values(1), cache.taken()}) {
      addresses.push_back(t.const_data_ptr());
    }
  });
  ASSERT_EQ(allocated.size(), static_cast<size_t>(kTokens - kPrompt));
  for (size_t i = 1; i < allocated.size(); ++i) {
    EXPECT_EQ(allocated[i], allocated[0]) << i;
    EXPECT_EQ(operators[i], operators[0]) << i;
    for (size_t k = 0; k < 5; ++k) EXPECT_EQ(addresses[5 * i + k], addresses[k]) << i;
  }
}

// With the length on the host nothing waits for the device either; only what attention looks at grows.
TEST_F(Decoding, StepsOfAHostFilledCacheMoveNothing) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  move(npu.device(), at::kBFloat16);
  model.fuse();
  npu.offer_operators(true);
  decode(Fill::host, [&](ArDecoder&, KvCache&, const auto& feed) {
    npu.reset_counts();
    feed();
    EXPECT_EQ(npu.bytes_to_host() + npu.bytes_to_device(), 0);
    EXPECT_EQ(npu.ops("npu::npu_fused_infer_attention_score"), 2);
    EXPECT_EQ(npu.ops("npu::npu_rms_norm"), 9);
    EXPECT_EQ(npu.ops("npu::npu_rotary_mul"), 2);
    EXPECT_EQ(npu.ops("npu::npu_swiglu"), 2);
  });
  npu.offer_operators(false);
}

// Joined or apart, matrices of few bits are multiplied in the form of their device.
TEST_F(Decoding, FewBitsOnADevice) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  npu.offer_operators(true);
  for (const int64_t bits : {8, 4}) {
    SetUp();
    quantise(bits, 32);
    const at::Tensor expected = teacher_forced();
    move(npu.device(), at::kBFloat16);
    take_device_form(parameters);
    EXPECT_EQ(model.layers[0].attention.q.weight.scalar_type(), bits == 4 ? at::kInt : at::kChar);
    EXPECT_LT(test::relative_error(decode(Fill::host), expected), 5e-2) << "apart";
    model.fuse();
    decode(Fill::host, [&](ArDecoder&, KvCache&, const auto& feed) {
      npu.reset_counts();
      feed();
      EXPECT_EQ(npu.ops("npu::npu_weight_quant_batchmatmul"), 2 * 4) << "q, k and v are one";
    });
    EXPECT_LT(test::relative_error(decode(Fill::host), expected), 5e-2) << "joined";
    for (const Parameter& p : parameters) {
      if (p.scale) *p.scale = at::Tensor();
    }
  }
  npu.offer_operators(false);
}

TEST_F(Decoding, AFullCacheIsRefused) {
  KvCache cache(model.config, 1, 1, model.embed_tokens.weight, Fill::device);
  EXPECT_THROW(model.prefill(model.embed(ids), model.rope(positions), cache), Error);
}

}  // namespace
}  // namespace glmimage
