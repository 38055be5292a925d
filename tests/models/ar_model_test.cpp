#include "models/ar/model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "models/ar/positions.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

constexpr double kTolerance = 1e-4;

std::filesystem::path checkpoint(const std::string& name) {
  return test::golden(name + "/checkpoint/vision_language_encoder");
}

ArModel load(const std::string& name) { return ArModel::load(checkpoint(name), {.dtype = at::kFloat}); }

// Loaded but not fused, as a trainer holds it.
ArModel load_trainable(const std::string& name, ParameterList& parameters) {
  ArModel model(ArConfig::from_json(JsonObject::open(checkpoint(name) / "config.json")));
  model.list(parameters);
  load_parameters(parameters, WeightFiles::open(checkpoint(name)), {.dtype = at::kFloat}, ar_ignored_prefixes());
  return model;
}

ArConfig small_config() {
  ArConfig c;
  c.vocab_size = 40, c.visual_vocab_size = 20, c.codebook_size = 16;
  c.hidden_size = 24, c.layers = 2, c.intermediate_size = 32, c.heads = 6, c.kv_heads = 2, c.head_dim = 4;
  c.partial_rotary_factor = 1.0, c.mrope_section = {1, 1, 0};
  c.begin_image_id = 16, c.end_image_id = 17, c.image_placeholder_id = 39;
  c.initializer_range = 0.3;
  return c;
}

at::Tensor counted_positions(int64_t batch, int64_t tokens) {
  return at::arange(tokens, at::kLong).view({1, 1, tokens}).expand({3, batch, tokens});
}

class ArModelGolden : public ::testing::TestWithParam<const char*> {
 protected:
  c10::AutoGradMode no_grad{false};
  SafetensorsFile file = SafetensorsFile::open(test::golden(std::string(GetParam()) + "/modules.safetensors"));
};
INSTANTIATE_TEST_SUITE_P(Checkpoints, ArModelGolden, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

// The stored logits may cover the last positions only.
at::Tensor last(const at::Tensor& logits, const at::Tensor& stored) {
  return logits.narrow(1, logits.size(1) - stored.size(1), stored.size(1));
}

TEST_P(ArModelGolden, TeacherForcedLogits) {
  const ArModel model = load(GetParam());
  for (const std::string prefix : {"ar", "ar_edit"}) {
    at::Tensor hidden = model.forward(model.embed(file.tensor(prefix + ".teacher.input_ids")),
                                      model.rope(file.tensor(prefix + ".teacher.position_ids")));
    at::Tensor stored = file.tensor(prefix + ".teacher.logits");
    EXPECT_LT(test::relative_error(last(model.logits(hidden), stored), stored), kTolerance) << prefix;
  }
}

TEST_P(ArModelGolden, InnerValues) {
  const ArModel model = load(GetParam());
  at::Tensor x = model.embed(file.tensor("ar.input_ids"));
  const Rope rope = model.rope(file.tensor("ar.position_ids"));
  EXPECT_LT(test::relative_error(model.layers[0](x, rope, {}, 0), file.tensor("ar.layer.0.out")), kTolerance);
  EXPECT_LT(test::relative_error(model.forward(x, rope), file.tensor("ar.norm.out")), kTolerance);
}

TEST_P(ArModelGolden, PrefillAndDecodeLogits) {
  const ArModel model = load(GetParam());
  for (const std::string prefix : {"ar", "ar_edit"}) {
    at::Tensor drawn = file.tensor(prefix + ".decode.input_ids"), stored = file.tensor(prefix + ".decode.logits");
    at::Tensor sequence =
        file.tensor(prefix + ".teacher.input_ids");  // the prompt with its pictures' ids, then the drawn
    const int64_t steps = drawn.size(1), prompt = sequence.size(1) - steps;
    KvCache cache(model.config, 1, prompt + steps, model.embed_tokens.weight);
    at::Tensor hidden = model.prefill(model.embed(sequence.narrow(1, 0, prompt)),
                                      model.rope(file.tensor(prefix + ".position_ids")), cache);
    at::Tensor in_prompt = file.tensor(prefix + ".logits");
    EXPECT_LT(test::relative_error(last(model.logits(hidden), in_prompt), in_prompt), kTolerance) << prefix;
    const Rope rope = model.rope(file.tensor(prefix + ".decode.position_ids"));
    std::vector<at::Tensor> logits{model.logits(hidden.narrow(1, prompt - 1, 1))};
    for (int64_t k = 0; k + 1 < steps; ++k) {
      hidden = model.decode(model.embed_one(drawn[0][k].item<int64_t>()), rope.at(k), cache);
      logits.push_back(model.logits(hidden));
    }
    EXPECT_EQ(cache.length(), prompt + steps - 1);
    EXPECT_LT(test::relative_error(at::cat(logits, 1), stored), kTolerance) << prefix;
  }
}

TEST_P(ArModelGolden, FusedEqualsUnfused) {
  ParameterList parameters;
  ArModel model = load_trainable(GetParam(), parameters);
  at::Tensor x = model.embed(file.tensor("ar.input_ids"));
  const Rope rope = model.rope(file.tensor("ar.position_ids"));
  at::Tensor before = model.forward(x, rope), q = model.layers[0].attention.q.weight.clone();
  model.fuse();
  EXPECT_LT(test::relative_error(model.forward(x, rope), before), 1e-6);
  EXPECT_TRUE(model.layers[0].attention.q.weight.equal(q));
}

class ArModelGradients : public ArModelGolden {};
INSTANTIATE_TEST_SUITE_P(Checkpoints, ArModelGradients, ::testing::Values("tiny_a", "tiny_b"));

TEST_P(ArModelGradients, AgreeWithTheReference) {
  c10::AutoGradMode grad{true};
  ParameterList parameters;
  ArModel model = load_trainable(GetParam(), parameters);
  for (const Parameter& p : parameters) *p.tensor = p.tensor->clone().requires_grad_(true);
  at::Tensor hidden = model.forward(model.embed(file.tensor("ar.teacher.input_ids")),
                                    model.rope(file.tensor("ar.teacher.position_ids")));
  at::Tensor loss = model.logits(hidden).mul(file.tensor("grad.ar.projection")).sum();
  int compared = 0;
  for (const Parameter& p : parameters) {
    if (!file.find("grad.ar." + p.name)) continue;
    auto gradients = torch::autograd::grad({loss}, {*p.tensor}, {}, /*retain_graph=*/true);
    EXPECT_LT(test::relative_error(gradients[0], file.tensor("grad.ar." + p.name)), kTolerance) << p.name;
    ++compared;
  }
  EXPECT_GE(compared, 7);
}

class ArModelRandom : public ::testing::Test {
 protected:
  void SetUp() override {
    model.list(parameters);
    init_parameters(parameters, make_generator(5));
  }
  at::Tensor logits_of(const at::Tensor& ids, const at::Tensor& positions, const std::optional<at::Tensor>& mask = {}) {
    return model.logits(model.forward(model.embed(ids), model.rope(positions), mask));
  }
  ArModel model{small_config()};
  ParameterList parameters;
  at::Generator generator = make_generator(6);
};

TEST_F(ArModelRandom, NamesAndShapesOfTheCheckpoint) {
  EXPECT_EQ(parameters.front().name, "model.language_model.embed_tokens.weight");
  EXPECT_EQ(parameters.back().name, "lm_head.weight");
  EXPECT_EQ(parameters.size(), 1 + 2 * 13 + 2u);
  EXPECT_EQ(parameters.back().shape, (std::vector<int64_t>{20, 24}));
}

TEST_F(ArModelRandom, StepByStepEqualsTeacherForced) {
  const int64_t batch = 3, prompt = 4, tokens = 9;
  at::Tensor ids = at::randint(40, {batch, tokens}, generator, at::kLong), positions = counted_positions(batch, tokens);
  at::Tensor whole = logits_of(ids, positions);  // (B, T, Vv)
  const Rope rope = model.rope(positions);
  KvCache cache(model.config, batch, tokens, model.embed_tokens.weight);
  std::vector<at::Tensor> parts{model.logits(
      model.prefill(model.embed(ids.narrow(1, 0, prompt)), model.rope(positions.narrow(2, 0, prompt)), cache))};
  for (int64_t t = prompt; t < tokens; ++t) {
    parts.push_back(model.logits(model.decode(model.embed(ids.narrow(1, t, 1)), rope.at(t), cache)));
  }
  EXPECT_LT(test::relative_error(at::cat(parts, 1), whole), 1e-5);
  EXPECT_THROW(model.decode(model.embed(ids.narrow(1, 0, 1)), rope.at(0), cache), Error);  // full
  EXPECT_THROW(model.prefill(model.embed(ids), rope, cache), Error);                       // not empty
}

TEST_F(ArModelRandom, PaddingChangesNothing) {
  at::Tensor ids = at::randint(40, {1, 5}, generator, at::kLong), positions = counted_positions(1, 5);
  at::Tensor alone = logits_of(ids, positions);
  at::Tensor pad = at::randint(40, {1, 3}, generator, at::kLong), ones = counted_positions(1, 3).mul(0).add(1);
  at::Tensor right = logits_of(at::cat({ids, pad}, 1), at::cat({positions, ones}, 2));
  EXPECT_LT(test::relative_error(right.narrow(1, 0, 5), alone), 1e-5);
  at::Tensor mask = at::arange(8, at::kLong).ge(3).unsqueeze(0);
  at::Tensor left = logits_of(at::cat({pad, ids}, 1), at::cat({ones, positions}, 2), mask);
  EXPECT_LT(test::relative_error(left.narrow(1, 3, 5), alone), 1e-5);
  EXPECT_FALSE(left.isnan().any().item<bool>());

  // The same mask in prefill and decode.
  KvCache cache(model.config, 1, 8, model.embed_tokens.weight);
  model.prefill(model.embed(at::cat({pad, ids.narrow(1, 0, 4)}, 1)),
                model.rope(at::cat({ones, positions.narrow(2, 0, 4)}, 2)), cache, mask.narrow(1, 0, 7));
  at::Tensor final_token = model.decode(model.embed(ids.narrow(1, 4, 1)), model.rope(positions).at(4), cache, mask);
  EXPECT_LT(test::relative_error(model.logits(final_token), alone.narrow(1, 4, 1)), 1e-5);
}

TEST_F(ArModelRandom, RowsAndRequestsDoNotMix) {
  at::Tensor ids = at::randint(40, {2, 6}, generator, at::kLong), positions = counted_positions(2, 6);
  at::Tensor both = logits_of(ids, positions);
  at::Tensor second = logits_of(ids.narrow(0, 1, 1), positions.narrow(1, 1, 1));
  EXPECT_LT(test::relative_error(both.narrow(0, 1, 1), second), 1e-5);
  // Two caches of one model, interleaved.
  KvCache a(model.config, 1, 6, model.embed_tokens.weight), b(model.config, 1, 6, model.embed_tokens.weight);
  const Rope rope = model.rope(positions.narrow(1, 0, 1));
  auto prompt = [&](int64_t row, KvCache& cache) {
    model.prefill(model.embed(ids.narrow(0, row, 1).narrow(1, 0, 5)),
                  model.rope(positions.narrow(1, 0, 1).narrow(2, 0, 5)), cache);
  };
  prompt(0, a);
  prompt(1, b);
  auto next = [&](int64_t row, KvCache& cache) {
    return model.logits(model.decode(model.embed(ids.narrow(0, row, 1).narrow(1, 5, 1)), rope.at(5), cache));
  };
  EXPECT_LT(test::relative_error(next(0, a), both.narrow(0, 0, 1).narrow(1, 5, 1)), 1e-5);
  EXPECT_LT(test::relative_error(next(1, b), both.narrow(0, 1, 1).narrow(1, 5, 1)), 1e-5);
}

TEST_F(ArModelRandom, EachAxisTurnsItsOwnFrequencies) {
  at::Tensor positions = at::zeros({3, 1, 1}, at::kLong);
  positions[1].fill_(3);
  const Rope rope = mrope(model.config, positions, model.embed_tokens.weight);  // sections 1, 1, 0
  EXPECT_EQ(rope.cos.sizes(), (std::vector<int64_t>{1, 1, 1, 2}));
  EXPECT_FLOAT_EQ(rope.sin[0][0][0][0].item<float>(), 0.f);
  EXPECT_FLOAT_EQ(rope.sin[0][0][0][1].item<float>(), std::sin(3.f * 0.01f));
}

TEST_F(ArModelRandom, RunsInBfloat16) {
  at::Tensor ids = at::randint(40, {1, 7}, generator, at::kLong), positions = counted_positions(1, 7);
  at::Tensor wide = logits_of(ids, positions);
  for (const Parameter& p : parameters) *p.tensor = p.tensor->to(at::kBFloat16);
  model.fuse();
  at::Tensor narrow = logits_of(ids, positions);
  EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
  EXPECT_LT(test::relative_error(narrow, wide), 0.05);
}

TEST_F(ArModelRandom, EmbedOneIsTheRow) {
  EXPECT_TRUE(model.embed_one(17).equal(model.embed(at::zeros({1, 1}, at::kLong).add(17))));
}

}  // namespace
}  // namespace glmimage
