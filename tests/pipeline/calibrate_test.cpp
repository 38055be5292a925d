#include "pipeline/calibrate.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/weight_files.h"
#include "kernels/linear.h"
#include "models/ar/model.h"
#include "models/dit/conditioning.h"
#include "models/dit/config.h"
#include "models/glyph/encoder.h"
#include "pipeline/condition.h"
#include "pipeline/quantise.h"
#include "pipeline/scheduler.h"
#include "support/goldens.h"
#include "text/glyph_text.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using test::golden;
using test::relative_error;

constexpr const char* kPrompt = "a cat with the text \"HI YOU\"";

GenerateRequest request_of(const std::string& prompt, int64_t steps, uint64_t seed) {
  GenerateRequest request;
  request.prompt = prompt;
  request.width = request.height = 64;
  request.steps = steps;
  request.seed = seed;
  return request;
}

// The root mean square norm as the papers write it.
at::Tensor normed(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x * at::rsqrt(x.square().mean({-1}, /*keepdim=*/true) + eps) * weight;
}

at::Tensor mean_square(const std::vector<at::Tensor>& inputs) {  // (…, in) each -> (in)
  std::vector<at::Tensor> rows;
  for (const at::Tensor& x : inputs) rows.push_back(x.reshape({-1, x.size(-1)}));
  return at::cat(rows).to(at::kDouble).square().mean(at::IntArrayRef{0});
}

class Calibrate : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path model() const { return golden(std::string(GetParam()) + "/checkpoint"); }
  Pipeline open(std::optional<at::ScalarType> dtype = at::kFloat) const {
    return Pipeline::open({.model = model(), .device = at::Device(at::kCPU), .dtype = dtype, .loras = {}});
  }
};
INSTANTIATE_TEST_SUITE_P(Goldens, Calibrate, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

// Where a layer's input can be had without the layers before it, it is made here by hand from what the request traced.
TEST_P(Calibrate, MeanSquaresEqualThoseOfInputsMadeByHand) {
  const Pipeline pipeline = open();
  constexpr int64_t kSteps = 3;
  const GenerateRequest request = request_of(kPrompt, kSteps, 5);
  std::map<std::string, at::Tensor> trace;
  {
    NamedTensors tensors;
    pipeline.generate(request, {.progress = nullptr, .trace = &tensors, .preview = {}});
    trace.insert(tensors.begin(), tensors.end());
  }
  const Calibration found = calibrate(pipeline, {request});
  EXPECT_EQ(found.pictures, 1);
  EXPECT_EQ(found.steps, kSteps);
  const auto expect = [&](const std::string& name, const std::vector<at::Tensor>& inputs) {
    ASSERT_TRUE(found.input_squares.count(name)) << name;
    EXPECT_LT(relative_error(found.input_squares.at(name), mean_square(inputs)), 1e-5) << name;
  };

  // The language model: the prompt at once, then every drawn id but the last, each alone. q, k and v are joined.
  const ArModel ar = ArModel::load(model() / "vision_language_encoder", {.dtype = at::kFloat});
  const at::Tensor drawn = trace.at("ar.output_ids");
  const at::Tensor ids = at::cat({trace.at("ar.input_ids"), drawn.narrow(1, 0, drawn.size(1) - 1)}, 1);
  const at::Tensor first =
      normed(ar.embed(ids), ar.layers[0].attention_input_norm.weight, ar.layers[0].attention_input_norm.eps);
  for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
    expect(concat("model.language_model.layers.0.self_attn.", part, ".weight"), {first});
  }

  // The glyph encoder: every quoted string, and the empty one of the pass without the prompt.
  const GlyphEncoder glyph = GlyphEncoder::open(model() / "text_encoder", {.dtype = at::kFloat});
  const ByteTokenizer tokenizer = ByteTokenizer::open(model() / "tokenizer");
  std::vector<at::Tensor> letters;
  for (const char* text : {kPrompt, ""}) {
    for (const std::vector<int64_t>& string : glyph_ids(tokenizer, text)) {
      const at::Tensor x = glyph.shared(at::tensor(string, at::kLong));
      letters.push_back(normed(x, glyph.blocks[0].attention_norm.weight, glyph.blocks[0].attention_norm.eps));
    }
  }
  for (const char* part : {"q", "k", "v"}) {
    expect(concat("encoder.block.0.layer.0.SelfAttention.", part, ".weight"), letters);
  }

  // The transformer: glyphs with and without the prompt; the time of every step.
  expect("glyph_projector.net.0.proj.weight", {trace.at("glyph.embeds"), encode_glyphs(glyph, tokenizer, "")});
  const Schedule schedule =
      make_schedule(SchedulerConfig::from_json(JsonObject::open(model() / "scheduler/scheduler_config.json")), kSteps,
                    trace.at("prior_token_ids").size(1));
  const int64_t time_dim = DitConfig::from_json(JsonObject::open(model() / "transformer/config.json")).time_dim;
  expect("time_condition_embed.timestep_embedder.linear_1.weight", {sinusoid(schedule.timesteps - 1, time_dim)});
}

// Several requests add up by their tokens, and every matrix is reached.
TEST_P(Calibrate, AddsRequestsByTheirTokens) {
  const Pipeline pipeline = open();
  const GenerateRequest one = request_of(kPrompt, 2, 1), two = request_of("a \"dog that barks\"", 1, 2);
  int64_t told = 0;
  const Calibration a = calibrate(pipeline, {one}), b = calibrate(pipeline, {two});
  const Calibration both = calibrate(pipeline, {one, two}, nullptr, [&](int64_t done) { EXPECT_EQ(done, ++told); });
  EXPECT_EQ(told, 2);
  EXPECT_EQ(both.pictures, 2);
  for (const auto& [name, matrix] : pipeline.matrices()) {
    ASSERT_TRUE(both.input_squares.count(name)) << name;
    const at::Tensor mean = both.input_squares.at(name);
    EXPECT_EQ(mean.sizes(), at::IntArrayRef({matrix.size(1)})) << name;
    EXPECT_GT(mean.max().item<double>(), 0) << name;
    const at::Tensor pair = at::stack({a.input_squares.at(name), b.input_squares.at(name)});
    EXPECT_TRUE((mean <= pair.amax(at::IntArrayRef{0}) * 1.00001).all().item<bool>()) << name;
    EXPECT_TRUE((mean >= pair.amin(at::IntArrayRef{0}) * 0.99999).all().item<bool>()) << name;
  }
  // Of two steps' passes and one's: three parts in all.
  const std::string name = "time_condition_embed.timestep_embedder.linear_1.weight";
  const at::Tensor weighed = (2 * a.input_squares.at(name) + b.input_squares.at(name)) / 3;
  EXPECT_LT(relative_error(both.input_squares.at(name), weighed), 1e-5);
}

TEST_P(Calibrate, InBfloat16) {
  const Calibration wide = calibrate(open(), {request_of(kPrompt, 1, 1)});
  const Calibration narrow = calibrate(open(at::kBFloat16), {request_of(kPrompt, 1, 1)});
  const std::string name = "encoder.block.0.layer.0.SelfAttention.q.weight";
  EXPECT_LT(relative_error(narrow.input_squares.at(name), wide.input_squares.at(name)), 0.02);
}

struct Stop : Progress {
  void report(Stage stage, int64_t, int64_t) override { stopped = stage == Stage::denoise; }
  bool cancelled() const override { return stopped; }
  bool stopped = false;
};

TEST_P(Calibrate, CanBeStopped) {
  Stop stop;
  try {
    calibrate(open(), {request_of(kPrompt, 3, 1)}, &stop);
    FAIL() << "not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
}

// The error of what comes out of a stored matrix, weighed with the mean squares of what goes in.
double output_error(const WeightFiles& exact, const WeightFiles& few, const std::string& name,
                    const at::Tensor& squares) {
  const QuantisedNames names = quantised_names(name);
  const at::Tensor w = exact.tensor(name).to(at::kDouble);
  const at::Tensor now =
      kernels::dequantise(few.tensor(names.packed).view(at::kByte), few.tensor(names.scale), at::kFloat);
  return std::sqrt(((now - w).square() * squares).sum().item<double>() / (w.square() * squares).sum().item<double>());
}

TEST_P(Calibrate, MakesTheErrorOfOutputsSmaller) {
  const Calibration calibration =
      calibrate(open(), {request_of(kPrompt, 4, 1), request_of("a dog over the word \"NO\"", 4, 2)});
  const fs::path folder = test::scratch_folder();
  QuantiseOptions options{.source = model(), .destination = folder / "plain", .patterns = {}, .calibration = {}};
  options.ar = options.dit = options.glyph = WeightFormat::int4;
  options.group = 0;
  const auto go_on = [](int64_t, int64_t) { return true; };
  const QuantiseReport plain = quantise_checkpoint(options, go_on);
  EXPECT_FALSE(plain.to_json().contains("calibration"));
  options.destination = folder / "calibrated";
  options.calibration = calibration;
  const QuantiseReport calibrated = quantise_checkpoint(options, go_on);
  EXPECT_EQ(calibrated.to_json()["calibration"]["pictures"], 2);

  ASSERT_FALSE(calibrated.matrices.empty());
  double before = 0, after = 0;
  for (size_t i = 0; i < calibrated.matrices.size(); ++i) {
    const QuantisedMatrix& m = calibrated.matrices[i];
    ASSERT_EQ(m.name, plain.matrices[i].name);
    EXPECT_FALSE(plain.matrices[i].output_error);
    const WeightFiles exact = WeightFiles::open(model() / m.part);
    const at::Tensor squares = calibration.input_squares.at(m.name);
    const double was = output_error(exact, WeightFiles::open(folder / "plain" / m.part), m.name, squares);
    const double is = output_error(exact, WeightFiles::open(folder / "calibrated" / m.part), m.name, squares);
    ASSERT_TRUE(m.output_error) << m.name;
    EXPECT_NEAR(*m.output_error, is, 1e-5) << m.name;
    EXPECT_LE(is, was * 1.00001) << m.name;  // the same scales were to choose from
    EXPECT_GE(m.error, plain.matrices[i].error * 0.99999) << m.name;
    before += was, after += is;
  }
  EXPECT_LT(after, 0.99 * before);
}

}  // namespace
}  // namespace glmimage
