#include "models/layers/recompute.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "core/autocast.h"
#include "core/error.h"
#include "core/rng.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "support/goldens.h"
#include "support/gradients.h"

namespace glmimage {
namespace {

using LossOf = std::function<at::Tensor(Activations)>;

at::Tensor drawn(std::vector<int64_t> shape, uint64_t seed) {
  return at::randn(shape, make_generator(seed), at::kFloat);
}

// Every gradient of the listed parameters, bit for bit; so is the loss.
void expect_same_gradients(const ParameterList& list, const LossOf& loss_of) {
  const std::map<std::string, at::Tensor> leaves = test::record_gradients(list);
  const at::Tensor kept = loss_of(Activations::keep);
  kept.backward();
  std::map<std::string, at::Tensor> expected;
  for (const auto& [name, leaf] : leaves) {
    expected[name] = leaf.grad();
    leaf.mutable_grad() = at::Tensor();
  }
  const at::Tensor again = loss_of(Activations::recompute);
  EXPECT_EQ(again.item<double>(), kept.item<double>());
  again.backward();
  int64_t moved = 0;
  for (const auto& [name, leaf] : leaves) {
    ASSERT_EQ(leaf.grad().defined(), expected[name].defined()) << name;
    if (!leaf.grad().defined()) continue;
    EXPECT_TRUE(leaf.grad().equal(expected[name])) << name;
    moved += leaf.grad().abs().sum().item<double>() > 0 ? 1 : 0;
  }
  EXPECT_GT(moved, 10);
}

// The small goldens' transformers; the modulations of a model from nothing would be zero and hide everything.
struct Dit {
  Dit() : model(DitModel::open(test::golden("tiny_a/checkpoint/transformer"), {.dtype = at::kFloat})) {
    model.list(list);
  }
  DitInput input(int64_t side, int64_t glyphs, uint64_t seed) const {
    const int64_t p = model.config.patch_size;
    return {.latents = drawn({2, model.config.in_channels, p * side, p * side}, seed),
            .glyphs = drawn({2, glyphs, model.config.text_dim}, seed + 1),
            .glyph_mask = glyphs > 2 ? at::ones({2, glyphs}, at::kBool) : at::Tensor(),
            .prior_ids = at::randint(model.config.codes, {2, side * side}, make_generator(seed + 2), at::kLong),
            .timestep = at::full({2}, 500.0, at::kFloat),
            .target_size = at::full({2, 2}, 64.0, at::kFloat),
            .crop = at::zeros({2, 2}, at::kFloat)};
  }
  DitModel model;
  ParameterList list;
};

TEST(Recompute, DitHasTheSameGradients) {
  Dit dit;
  for (const int64_t glyphs : {0, 2, 3}) {
    SCOPED_TRACE(glyphs);
    expect_same_gradients(dit.list, [&](Activations activations) {
      return dit.model.forward(dit.input(4, glyphs, 1), nullptr, activations).square().mean();
    });
  }
}

// Gradients flow through the references' keys and values into the pass that wrote them.
TEST(Recompute, DitHasTheSameGradientsThroughReferences) {
  Dit dit;
  expect_same_gradients(dit.list, [&](Activations activations) {
    ReferenceCache cache;
    dit.model.write_references(dit.input(2, 0, 7), cache, activations);
    return dit.model.forward(dit.input(4, 3, 1), &cache, activations).square().mean();
  });
}

TEST(Recompute, ArHasTheSameGradients) {
  const auto folder = test::golden("tiny_a/checkpoint/vision_language_encoder");
  ArModel model(ArConfig::from_json(JsonObject::open(folder / "config.json")));
  ParameterList list;
  model.list(list);
  load_parameters(list, WeightFiles::open(folder), {.dtype = at::kFloat}, ar_ignored_prefixes());
  for (const int64_t length : {9, 150}) {  // so many that queries, keys and values are one product
    const at::Tensor ids = at::randint(model.config.visual_vocab_size, {2, length}, make_generator(3), at::kLong);
    const at::Tensor positions = at::arange(length, at::kLong).view({1, 1, length}).expand({3, 2, length});
    at::Tensor mask = at::ones({2, length}, at::kBool);
    mask[1][0].fill_(false);
    for (const std::optional<at::Tensor>& key_mask : {std::optional<at::Tensor>(), std::optional(mask)}) {
      expect_same_gradients(list, [&](Activations activations) {
        return model.logits(model.forward(model.embed(ids), model.rope(positions), key_mask, activations))
            .square()
            .mean();
      });
    }
  }
}

TEST(Recompute, VisionTowerHasTheSameGradients) {
  VisualTokenizer model =
      VisualTokenizer::open(test::golden("tiny_a/checkpoint/vision_language_encoder"), {.dtype = at::kFloat});
  ParameterList list;
  model.tower.list(list, "tower");
  const at::Tensor patches = drawn({2, 6, model.config.vision.patch_values()}, 5);
  expect_same_gradients(list, [&](Activations activations) {
    return model.features(patches, {2, 3}, activations).square().mean();
  });
}

// The block runs again in the precision it ran in, though the backward pass is outside of the guard.
TEST(Recompute, RemembersThePrecision) {
  Dit dit;
  expect_same_gradients(dit.list, [&](Activations activations) {
    const Autocast guard(at::Device(at::kCPU), at::kBFloat16);
    return dit.model.forward(dit.input(4, 3, 1), nullptr, activations).to(at::kFloat).square().mean();
  });
}

// A first block whose input carries no gradient: its weights get theirs all the same.
TEST(Recompute, WeightsLearnBehindAnInputThatDoesNot) {
  at::Tensor weight = drawn({3, 3}, 1).requires_grad_(true);
  const Block block = [&](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
    return {at::linear(in[0], weight), in[0]};
  };
  const at::Tensor x = drawn({2, 3}, 2);
  const std::vector<at::Tensor> out = run_block(Activations::recompute, block, {x});
  EXPECT_FALSE(x.requires_grad());  // handed through, it has no part in the block's history
  out[0].sum().backward();
  EXPECT_TRUE(weight.grad().equal(x.sum(0).expand({3, 3})));
}

TEST(Recompute, CountsItsRuns) {
  at::Tensor weight = drawn({3, 3}, 1).requires_grad_(true);
  int runs = 0;
  const Block block = [&](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
    ++runs;
    return {at::linear(in[0], weight)};
  };
  const at::Tensor loss = run_block(Activations::recompute, block, {drawn({2, 3}, 2)})[0].sum();
  EXPECT_EQ(runs, 1);
  loss.backward();
  EXPECT_EQ(runs, 2);
  EXPECT_ANY_THROW(loss.backward());
  at::NoGradGuard no_grad;
  EXPECT_FALSE(run_block(Activations::recompute, block, {drawn({2, 3}, 2)})[0].requires_grad());
}

// Bytes of tensors alive in this thread, and the most there were.
struct Memory : c10::MemoryReportingInfoBase {
  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
    now += bytes;
    peak = std::max(peak, now);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t now = 0, peak = 0;
};

int64_t peak_of_a_step(const DitModel& model, const DitInput& input, Activations activations) {
  const auto memory = std::make_shared<Memory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, memory);
  model.forward(input, nullptr, activations).square().mean().backward();
  return memory->peak;
}

// Twenty-four blocks: what is kept grows with their number, what is computed again does not.
TEST(Recompute, NeedsLessMemory) {
  Dit small;
  DitConfig config = small.model.config;
  config.layers = 24;
  DitModel model(config);
  ParameterList list;
  model.list(list);
  init_parameters(list, make_generator(1));
  const auto leaves = test::record_gradients(list);
  const DitInput input = small.input(16, 3, 1);
  peak_of_a_step(model, input, Activations::keep);  // gradients are there from now on
  const int64_t kept = peak_of_a_step(model, input, Activations::keep);
  const int64_t again = peak_of_a_step(model, input, Activations::recompute);
  RecordProperty("peak_kept", std::to_string(kept));
  RecordProperty("peak_recomputed", std::to_string(again));
  std::printf("peak of a step: %.2f MiB kept, %.2f MiB recomputed\n", static_cast<double>(kept) / (1 << 20),
              static_cast<double>(again) / (1 << 20));
  EXPECT_LT(again * 3, kept);
}

}  // namespace
}  // namespace glmimage
