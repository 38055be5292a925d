// The formulas of `glm-image plan`, held to what LibTorch computes and allocates for small models.
#ifndef NDEBUG
#define NDEBUG  // as in src/kernels/observe_linear.cpp
#endif
#include "train/plan/plan.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "core/autocast.h"
#include "core/rng.h"
#include "support/allocation_peak.h"
#include "support/error_of.h"
#include "text/chat_template.h"
#include "train/losses/ar_loss.h"
#include "train/losses/flow_loss.h"
#include "train/losses/tokenizer_loss.h"
#include "train/losses/vae_loss.h"

namespace glmimage::train {
namespace {

using test::error_of;
using ::testing::HasSubstr;

// Of the products below: the operators that do the arithmetic, whoever calls them.
struct Counted {
  double forward = 0, backward = 0;
};
thread_local Counted* counted = nullptr;

double numel(const c10::IValue& value) { return static_cast<double>(value.toTensor().numel()); }

// Of a convolution: its inputs are gone when its output is there.
struct PerOutput : at::ObserverContext {
  explicit PerOutput(double flops) : flops(flops) {}
  double flops;
};

double per_output(const at::Tensor& weight) {
  return 2 * static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

// Where gradients are recorded it is the forward pass: backward runs without.
void add(double flops) { (at::GradMode::is_enabled() ? counted->forward : counted->backward) += flops; }

std::unique_ptr<at::ObserverContext> count_operator(const at::RecordFunction& call) {
  if (!counted) return nullptr;
  const auto is = [&](const char* name) { return std::strcmp(call.name(), name) == 0; };
  const auto in = call.inputs();
  const auto gemm = [&](size_t a, size_t b) {
    return 2 * numel(in[a]) * static_cast<double>(in[b].toTensor().size(-1));
  };
  const auto attention = [&](size_t q, size_t k) {
    return 4 * numel(in[q]) * static_cast<double>(in[k].toTensor().size(-2));
  };
  if (is("aten::mm") || is("aten::bmm")) add(gemm(0, 1));
  if (is("aten::addmm") || is("aten::baddbmm")) add(gemm(1, 2));
  if (is("aten::_scaled_dot_product_flash_attention_for_cpu")) add(attention(0, 1));
  if (is("aten::_scaled_dot_product_flash_attention_for_cpu_backward")) add(2 * attention(1, 2));
  if (is("aten::convolution_backward")) add(2 * numel(in[0]) * per_output(in[2].toTensor()));
  if (is("aten::convolution")) return std::make_unique<PerOutput>(per_output(in[1].toTensor()));
  return nullptr;
}

void count_output(const at::RecordFunction& call, at::ObserverContext* context) {
  if (!counted || !context) return;
  add(static_cast<PerOutput*>(context)->flops * numel(call.outputs()[0]));
}

// A loss's forward and backward pass.
Counted count(const std::function<at::Tensor()>& loss) {
  Counted out;
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(count_operator, count_output)
                                                     .needsInputs(true)
                                                     .needsOutputs(true)
                                                     .scopes({at::RecordScope::FUNCTION}));
  counted = &out;
  loss().backward();
  counted = nullptr;
  at::removeCallback(handle);
  return out;
}

at::Tensor noise(at::IntArrayRef shape) { return at::randn(shape, make_generator(2), at::TensorOptions(at::kFloat)); }
at::Tensor ids(int64_t high, at::IntArrayRef shape) { return at::randint(high, shape, make_generator(3), at::kLong); }

ParameterList trainable(ParameterList list) {
  init_parameters(list, make_generator(1));
  for (const Parameter& p : list) p.tensor->requires_grad_(true);
  return list;
}

// Small models with layers enough, and their stages' losses. One sample, or `batch` of them.
struct Small {
  Preset preset = find_preset("tiny");
  SampleShape sample{.height = 128, .width = 192, .text_tokens = 20, .glyph_tokens = 12};
  int64_t batch = 1;

  Small() {
    preset.dit.layers = preset.ar.layers = preset.vision.depth = 4;
    preset.dit.head_dim = 32;
    preset.ar.vocab_size = 300;
  }
};

class Work {
 public:
  virtual ~Work() = default;
  virtual at::Tensor loss(Activations activations) = 0;
};

class DitWork : public Work {
 public:
  explicit DitWork(const Small& s) : model_{DitModel(s.preset.dit), GlyphEncoder(s.preset.glyph)} {
    ParameterList list;
    model_.list(list);
    trainable(list);
    const Grid grid{s.sample.height / kPixelsPerVisualToken, s.sample.width / kPixelsPerVisualToken};
    // A quoted string of n letters is n + 1 tokens, padded to an even number in all.
    const std::string word(static_cast<size_t>(s.sample.glyph_tokens - 1), 'x');
    data_.captions.assign(static_cast<size_t>(s.batch), "\"" + word + "\"");
    data_.target = {grid, ids(s.preset.dit.codes, {s.batch, grid.count()}),
                    noise({s.batch, s.preset.dit.in_channels, s.sample.height / 8, s.sample.width / 8})};
  }
  at::Tensor loss(Activations activations) override {
    DitSettings settings;
    settings.drop = 0;
    return flow_loss(model_, data_, settings, make_generator(4), activations);
  }

 private:
  FlowModel model_;
  EncodedBatch data_;
};

class ArWork : public Work {
 public:
  explicit ArWork(const Small& s) : model_(s.preset.ar) {
    ParameterList list;
    model_.list(list);
    trainable(list);
    const StageCost cost = stage_cost("ar", s.preset, s.sample, Precision::float32);
    const int64_t length = cost.tokens, learned = length - s.sample.text_tokens + 1;
    data_.ids = ids(s.preset.ar.vocab_size, {s.batch, length});
    data_.positions = at::arange(length, at::kLong).expand({3, s.batch, length});
    data_.targets = at::full({s.batch, length}, -100, at::kLong);
    data_.targets.narrow(1, length - learned, learned).copy_(ids(s.preset.ar.visual_vocab_size, {s.batch, learned}));
  }
  at::Tensor loss(Activations activations) override { return sequence_loss(model_, data_, activations); }

 private:
  ArModel model_;
  SequenceBatch data_;
};

class TokenizerWork : public Work {
 public:
  explicit TokenizerWork(const Small& s)
      : model_({s.preset.vision, s.preset.vq}), heads_(s.preset.vision, s.preset.vq, 2, 2) {
    ParameterList list;
    model_.list(list);
    heads_.list(list);
    trainable(list);
    const Grid grid{s.sample.height / kPixelsPerVisualToken, s.sample.width / kPixelsPerVisualToken};
    const int64_t cells = grid.count();
    data_.patches = noise({s.batch, cells, s.preset.vision.patch_values()});
    data_.labels = ids(2, {s.batch, cells});
    data_.parts = ids(kPartSteps * kPartSteps, {s.batch, cells});
    data_.background = ids(2, {s.batch, cells});
    data_.unlabelled = at::zeros({s.batch}, at::kFloat);
    data_.grid = grid;
  }
  at::Tensor loss(Activations activations) override {
    TokenizerLossOptions options;
    options.activations = activations;
    return tokenizer_losses(model_, heads_, data_, options).total;
  }

 private:
  VisualTokenizer model_;
  TokenizerHeads heads_;
  TokenizerBatch data_;
};

class VaeWork : public Work {
 public:
  explicit VaeWork(const Small& s) : vae_(s.preset.vae), pixels_(noise({s.batch, 3, s.sample.height, s.sample.width})) {
    ParameterList list;
    vae_.list(list);
    trainable(list);
  }
  at::Tensor loss(Activations) override { return vae_losses(vae_, pixels_, make_generator(4), {}).total; }

 private:
  Vae vae_;
  at::Tensor pixels_;
};

std::unique_ptr<Work> work_of(const std::string& stage, const Small& small) {
  if (stage == "dit") return std::make_unique<DitWork>(small);
  if (stage == "ar") return std::make_unique<ArWork>(small);
  if (stage == "tokenizer") return std::make_unique<TokenizerWork>(small);
  return std::make_unique<VaeWork>(small);
}

TEST(PlanFormulas, CountWhatLibTorchComputes) {
  for (const auto& [stage, forward_tolerance, step_tolerance] :
       {std::tuple{"dit", 1e-6, 0.03}, {"ar", 1e-6, 0.03}, {"tokenizer", 0.08, 0.08}, {"vae", 1e-6, 0.03}}) {
    const Small small;
    const StageCost cost = stage_cost(stage, small.preset, small.sample, Precision::float32);
    const std::unique_ptr<Work> work = work_of(stage, small);
    const Counted plain = count([&] { return work->loss(Activations::keep); });
    EXPECT_NEAR(cost.forward_flops() / plain.forward, 1, forward_tolerance) << stage;
    EXPECT_NEAR(cost.step_flops(false) / (plain.forward + plain.backward), 1, step_tolerance) << stage;
  }
}

// What the forward pass leaves behind for the backward pass, at its highest.
double kept_bytes(const std::string& stage, const Small& small, Activations activations, Precision precision) {
  const std::unique_ptr<Work> work = work_of(stage, small);
  const Autocast autocast(at::Device(at::kCPU),
                          precision == Precision::bfloat16 ? std::optional(at::kBFloat16) : std::nullopt);
  const test::AllocationPeak peak;
  const at::Tensor loss = work->loss(activations);
  return static_cast<double>(peak.bytes());
}

void set_layers(Preset& preset, int64_t layers) { preset.dit.layers = preset.ar.layers = preset.vision.depth = layers; }

// The layers by the difference between few and many of them; what lies outside by the rest.
TEST(PlanFormulas, CountWhatLibTorchKeeps) {
  for (const char* stage : {"dit", "ar", "tokenizer"}) {
    for (const Precision precision : {Precision::float32, Precision::bfloat16}) {
      SCOPED_TRACE(concat(stage, precision == Precision::float32 ? " float32" : " bfloat16"));
      Small small;
      small.sample.height = small.sample.width = 512;
      small.batch = 2;
      const auto kept = [&](Activations activations, int64_t layers) {
        set_layers(small.preset, layers);
        const StageCost cost = stage_cost(stage, small.preset, small.sample, precision);
        const bool copies = precision == Precision::bfloat16 && activations == Activations::keep;
        const double copied = copies ? 2.0 * static_cast<double>(cost.cast_parameters) : 0.0;
        return (kept_bytes(stage, small, activations, precision) - copied) / static_cast<double>(small.batch);
      };
      const double few = kept(Activations::keep, 3), many = kept(Activations::keep, 7), layer = (many - few) / 4;
      const double input = (kept(Activations::recompute, 7) - kept(Activations::recompute, 3)) / 4;
      const StageCost cost = stage_cost(stage, small.preset, small.sample, precision);
      EXPECT_NEAR(static_cast<double>(cost.layer_bytes) / layer, 1, 0.03);
      EXPECT_NEAR(static_cast<double>(cost.input_bytes) / input, 1, 0.01);
      EXPECT_NEAR(static_cast<double>(cost.early_bytes + cost.late_bytes) / (few - 3 * layer), 1, 0.15);
    }
  }
}

TEST(PlanFormulas, CountWhatLibTorchKeepsOfTheVae) {
  for (const Precision precision : {Precision::float32, Precision::bfloat16}) {
    for (const int64_t layers : {1, 3}) {
      Small small;
      small.batch = 2;
      small.preset.vae.layers_per_block = layers;
      const double kept = kept_bytes("vae", small, Activations::keep, precision) / 2;
      const StageCost cost = stage_cost("vae", small.preset, small.sample, precision);
      EXPECT_NEAR(static_cast<double>(cost.early_bytes) / kept, 1, 0.05) << layers;
    }
  }
}

// A whole update's highest point: what is kept, and gradients.
TEST(PlanFormulas, PredictTheHighestPointOfAnUpdate) {
  for (const char* stage : {"dit", "ar", "tokenizer", "vae"}) {
    for (const Activations activations : {Activations::keep, Activations::recompute}) {
      const bool recompute = activations == Activations::recompute;
      if (recompute && std::strcmp(stage, "vae") == 0) continue;
      Small small;
      small.sample.height = small.sample.width = std::strcmp(stage, "vae") == 0 ? 160 : 384;
      small.batch = 4;
      set_layers(small.preset, 8);
      const StageCost cost = stage_cost(stage, small.preset, small.sample, Precision::float32);
      const std::unique_ptr<Work> work = work_of(stage, small);
      const test::AllocationPeak peak;
      work->loss(activations).backward();
      const double expected = static_cast<double>(small.batch * cost.activation_bytes(recompute) + 4 * cost.parameters);
      std::printf("%s%s: %.3g MB predicted, %.3g MB allocated\n", stage, recompute ? ", recomputed" : "",
                  expected / 1e6, static_cast<double>(peak.bytes()) / 1e6);
      EXPECT_NEAR(expected / static_cast<double>(peak.bytes()), 1, 0.25) << stage << recompute;
    }
  }
}

PlanOptions published(const std::string& stage, const std::string& device, int64_t devices) {
  PlanOptions out;
  out.stage = stage;
  out.preset = find_preset("published");
  out.sample = {.height = 1024, .width = 1024};
  out.device = find_device_figures(device);
  out.devices = devices;
  return out;
}

TEST(Plan, PublishedSizesAreThePublishedModel) {
  const StageCost dit =
      stage_cost("dit", find_preset("published"), {.height = 1024, .width = 1024}, Precision::bfloat16);
  const StageCost ar = stage_cost("ar", find_preset("published"), {.height = 1024, .width = 1024}, Precision::bfloat16);
  EXPECT_NEAR(static_cast<double>(dit.parameters + ar.parameters) / 1e9, 16.5, 0.5);
  EXPECT_EQ(dit.tokens, 4096 + 32);
  EXPECT_EQ(ar.tokens, 64 + 1024 + 256);
}

TEST(Plan, ShardingDividesWhatItSays) {
  PlanOptions options = published("dit", "h200", 8);
  const int64_t p = stage_cost("dit", options.preset, options.sample, options.precision).parameters;
  const auto memory = [&](Sharding sharding) {
    options.sharding = sharding;
    return make_plan(options).memory;
  };
  const PlannedMemory none = memory(Sharding::none), one = memory(Sharding::zero1), two = memory(Sharding::zero2),
                      three = memory(Sharding::zero3);
  EXPECT_EQ(none.weights + none.gradients + none.moments + none.average, 20 * p);
  EXPECT_NEAR(static_cast<double>(one.moments + one.average), 1.5 * static_cast<double>(p), 8);
  EXPECT_EQ(one.gradients, 4 * p);
  EXPECT_NEAR(static_cast<double>(two.gradients), 0.5 * static_cast<double>(p), 8);
  EXPECT_EQ(two.weights, 4 * p);
  EXPECT_NEAR(static_cast<double>(three.weights), 0.5 * static_cast<double>(p), 8);
  options.average = false;
  EXPECT_EQ(memory(Sharding::none).average, 0);
}

// As train/distributed counts them, with s the bytes of all weights times (n-1)/n.
TEST(Plan, SentBytesFollowTheAlgorithms) {
  PlanOptions options = published("ar", "ascend910b", 64);
  options.global_batch = 64 * 3;  // three passes
  const StageCost cost = stage_cost("ar", options.preset, options.sample, options.precision);
  const double s = 4.0 * static_cast<double>(cost.parameters) * 63 / 64,
               layers = 4.0 * static_cast<double>(cost.layers * cost.layer_parameters) * 63 / 64;
  const auto sent = [&](Sharding sharding) {
    options.sharding = sharding;
    return static_cast<double>(make_plan(options).sent_bytes);
  };
  EXPECT_NEAR(sent(Sharding::none), 2 * s, 1);
  EXPECT_NEAR(sent(Sharding::zero1), 2 * s, 1);
  EXPECT_NEAR(sent(Sharding::zero2), 4 * s, 1);
  EXPECT_NEAR(sent(Sharding::zero3), 3 * (s + s + layers), 1);
  options.devices = 1;
  EXPECT_EQ(sent(Sharding::none), 0);
}

TEST(Plan, MoreDevicesDoNotSlowDown) {
  double before = 0;
  for (const int64_t devices : {8, 64, 512}) {
    PlanOptions options = published("dit", "h200", devices);
    options.sharding = Sharding::zero1;
    const Plan plan = make_plan(options);
    EXPECT_GT(plan.samples_per_second, before);
    EXPECT_LE(plan.mfu, options.utilisation);
    EXPECT_NEAR(plan.tokens_per_second, plan.samples_per_second * 4128, 1e-6 * plan.tokens_per_second);
    before = plan.samples_per_second;
  }
}

TEST(Plan, SaysWhatWouldFit) {
  PlanOptions options = published("dit", "ascend910b", 8);
  EXPECT_FALSE(make_plan(options).memory.fits());
  const std::vector<std::string> ways = what_would_fit(options);
  ASSERT_FALSE(ways.empty());
  EXPECT_THAT(ways, ::testing::Contains(HasSubstr("--sharding zero3 --recompute (")));
  options.sharding = Sharding::zero3;
  options.recompute = true;
  EXPECT_TRUE(make_plan(options).memory.fits());
  PlanOptions alone = published("ar", "ascend910b4", 1);
  for (const std::string& way : what_would_fit(alone))
    EXPECT_THAT(way, HasSubstr("--devices ")) << "nothing less helps";
}

TEST(Plan, RefusesNumbersThatCannotBe) {
  const auto refusal = [](const std::function<void(PlanOptions&)>& change) {
    PlanOptions options = published("dit", "h100", 8);
    change(options);
    return error_of(ErrorKind::usage, [&] { make_plan(options); });
  };
  EXPECT_THAT(refusal([](PlanOptions& o) { o.devices = 0; }), HasSubstr("--devices 0"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.micro_batch = -1; }), HasSubstr("--micro-batch"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.global_batch = 12; }), HasSubstr("no multiple of 8"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.sequence_parallel = 3; }), HasSubstr("does not divide the 8 devices"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.devices = o.sequence_parallel = 64; }), HasSubstr("32 heads"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.stage = "vae", o.sequence_parallel = 2; }), HasSubstr("stage vae"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.stage = "glyph"; }), HasSubstr("glyph"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.sample.width = 1000; }), HasSubstr("multiples of 32"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.sample.height = 1 << 20; }), HasSubstr("16384"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.utilisation = std::nan(""); }), HasSubstr("--utilisation"));
  EXPECT_THAT(refusal([](PlanOptions& o) { o.network_share = 0; }), HasSubstr("--network-share"));
  EXPECT_THAT(error_of(ErrorKind::usage, [] { find_device_figures("abacus"); }), HasSubstr("h200"));
  EXPECT_THAT(error_of(ErrorKind::usage, [] { parse_sharding("zero4"); }), HasSubstr("zero3"));
}

}  // namespace
}  // namespace glmimage::train
