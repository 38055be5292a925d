#include "pipeline/prior.h"

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "models/ar/config.h"
#include "support/emulated_npu.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using ::testing::HasSubstr;

std::filesystem::path checkpoint(const std::string& name) {
  return test::golden(name + "/checkpoint/vision_language_encoder");
}

std::vector<int64_t> host(const at::Tensor& t) {
  at::Tensor c = t.contiguous().view(-1);
  return {c.const_data_ptr<int64_t>(), c.const_data_ptr<int64_t>() + c.numel()};
}

// The request that a golden trace records; grids: sources, target, draft.
PriorRequest request_of(const SafetensorsFile& trace) {
  PriorRequest request;
  request.input_ids = host(trace.tensor("ar.input_ids"));
  for (int i = 0; trace.find(concat("references.", i, ".token_ids")); ++i) {
    const std::vector<int64_t> grid = host(trace.tensor(concat("references.", i, ".grid")));
    request.sources.push_back({{grid[0], grid[1]}, trace.tensor(concat("references.", i, ".token_ids"))});
  }
  const std::vector<int64_t> grids = host(trace.tensor("ar.grids"));
  const size_t sources = request.sources.size();
  request.target = {grids[3 * sources + 1], grids[3 * sources + 2]};
  if (sources == 0) request.draft = Grid{grids[4], grids[5]};
  return request;
}

class PriorGolden : public ::testing::TestWithParam<const char*> {
 protected:
  // Thousands of tiny operators: more threads would only wait for each other.
  void SetUp() override { at::set_num_threads(1); }
  void TearDown() override { at::set_num_threads(threads); }
  const int threads = at::get_num_threads();
  c10::AutoGradMode no_grad{false};
};
INSTANTIATE_TEST_SUITE_P(Checkpoints, PriorGolden, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(PriorGolden, SameIdsAsTheReference) {
  const std::string name = GetParam();
  const ArModel model = ArModel::load(checkpoint(name), {.dtype = at::kFloat});
  const GenerationConfig generation = GenerationConfig::open(checkpoint(name));
  const JsonObject manifest = JsonObject::open(test::golden(name + "/manifest.json"));
  int compared = 0;
  for (const auto& entry : manifest.value().at("cases")) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const SafetensorsFile trace = SafetensorsFile::open(test::golden(name) / entry.at("file").get<std::string>());
    PriorRequest request = request_of(trace);
    request.sampling = {entry.at("greedy").get<bool>() ? 0.0 : generation.temperature, generation.top_p,
                        generation.top_k};
    at::Generator generator = make_generator(entry.at("seed").get<uint64_t>());
    const PriorResult result = run_prior(model, request, generator);
    at::Tensor expected = trace.tensor("ar.output_ids");  // ends with the end id, which is not drawn here
    ASSERT_EQ(result.output_ids.size(1), expected.size(1) - 1);
    EXPECT_TRUE(result.output_ids.equal(expected.narrow(1, 0, expected.size(1) - 1)));
    EXPECT_TRUE(upsample_to_prior(result.target).equal(trace.tensor("prior_token_ids")));
    EXPECT_EQ(result.draft.has_value(), request.sources.empty());
    ++compared;
  }
  EXPECT_GE(compared, 4);
}

// A model whose head always prefers the end id: the reference would stop at once (traps: early end token).
class PriorOfAnEagerModel : public ::testing::Test {
 protected:
  c10::AutoGradMode no_grad{false};
  static constexpr int64_t kCodes = 16, kEnd = 17;
  void SetUp() override {
    ArConfig c;
    c.vocab_size = 40, c.visual_vocab_size = 20, c.codebook_size = kCodes;
    c.hidden_size = 24, c.layers = 2, c.intermediate_size = 32, c.heads = 6, c.kv_heads = 2, c.head_dim = 4;
    c.partial_rotary_factor = 1.0, c.mrope_section = {1, 1, 0};
    c.begin_image_id = 16, c.end_image_id = kEnd, c.image_placeholder_id = 39;
    c.initializer_range = 0.3;
    model = std::make_unique<ArModel>(c);
    ParameterList parameters;
    model->list(parameters);
    init_parameters(parameters, make_generator(5));
    // Channel 0 is the same for every token, so a row of the head that looks at it alone is a constant logit.
    model->embed_tokens.weight.select(1, 0).fill_(40.0);
  }
  PriorResult draw(double end_weight, const SamplerOptions& sampling, Progress* progress = nullptr) {
    model->lm_head.weight[kEnd].zero_();
    model->lm_head.weight[kEnd][0] = end_weight;
    at::Generator generator = make_generator(11);
    return run_prior(*model, {{30, 31, 16}, {}, {3, 4}, Grid{2, 2}, sampling}, generator, progress);
  }
  std::unique_ptr<ArModel> model;
};

// On a device the ids are drawn there, and a run of them is fetched at once: 8 bytes an id.
TEST_F(PriorOfAnEagerModel, DrawsTheSameIdsOnADevice) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  const auto draw_large = [&] {
    at::Generator generator = make_generator(11);
    return run_prior(*model, {{30, 31, 16}, {}, {5, 7}, Grid{2, 2}, {}}, generator).output_ids;
  };
  const at::Tensor expected = draw_large();
  ParameterList parameters;
  model->list(parameters);
  for (const Parameter& p : parameters) *p.tensor = p.tensor->to(npu.device());
  npu.reset_counts();
  EXPECT_TRUE(draw_large().equal(expected));
  EXPECT_EQ(npu.bytes_to_host(), 8 * expected.numel());
  // Its weights broken, the model's error is the same as on a processor.
  model->lm_head.weight.fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THROW(draw_large(), Error);
}

TEST_F(PriorOfAnEagerModel, FillsTheGridWithCodes) {
  for (double temperature : {0.0, 0.9}) {
    const PriorResult result = draw(100.0, {temperature, 0.75, 0});
    EXPECT_EQ(result.output_ids.size(1), 16);
    EXPECT_TRUE(result.output_ids.lt(kCodes).all().item<bool>());
    EXPECT_EQ(result.target.ids.size(1), 12);
    EXPECT_EQ(result.draft->ids.size(1), 4);
    EXPECT_TRUE(result.target.ids.equal(result.output_ids.narrow(1, 4, 12)));
  }
}

TEST_F(PriorOfAnEagerModel, TheSameSeedGivesTheSameIds) {
  const SamplerOptions sampling{1.0, 1.0, 0};
  EXPECT_TRUE(draw(0.0, sampling).output_ids.equal(draw(0.0, sampling).output_ids));
}

struct Counter : Progress {
  void report(Stage stage, int64_t done, int64_t total) override {
    EXPECT_EQ(stage, Stage::visual_tokens);
    EXPECT_EQ(total, 16);
    seen.push_back(done);
  }
  bool cancelled() const override { return static_cast<int64_t>(seen.size()) > stop_after; }
  std::vector<int64_t> seen;
  int64_t stop_after = 1000;
};

TEST_F(PriorOfAnEagerModel, ReportsAndStops) {
  Counter counter;
  draw(0.0, {}, &counter);
  EXPECT_EQ(counter.seen.size(), 17u);
  EXPECT_EQ(counter.seen.back(), 16);
  Counter impatient;
  impatient.stop_after = 5;
  try {
    draw(0.0, {}, &impatient);
    FAIL() << "not cancelled";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::cancelled);
  }
  EXPECT_EQ(impatient.seen.size(), 6u);
}

TEST_F(PriorOfAnEagerModel, RefusesWhatDoesNotFit) {
  auto message = [&](const PriorRequest& request) -> std::string {
    at::Generator generator = make_generator(1);
    try {
      run_prior(*model, request, generator);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return e.what();
    }
    return "accepted";
  };
  const VisualTokens source{{1, 2}, at::zeros({1, 2}, at::kLong)};
  PriorRequest edit{{16, 39, 39, kEnd, 30, 16}, {source}, {2, 2}, std::nullopt, {}};
  EXPECT_EQ(message(edit), "accepted");
  PriorRequest short_of_one = edit;
  short_of_one.input_ids = {16, 39, kEnd, 30, 16};
  EXPECT_THAT(message(short_of_one), HasSubstr("1 picture placeholders for 2"));
  PriorRequest marker_in_text = edit;
  marker_in_text.input_ids.insert(marker_in_text.input_ids.begin() + 4, kEnd);
  EXPECT_THAT(message(marker_in_text), HasSubstr("closes 2 pictures, but came with 1"));
  EXPECT_THAT(message({{40, 16}, {}, {1, 1}, Grid{1, 1}, {}}), HasSubstr("the id 40"));
  EXPECT_THAT(message({{}, {}, {1, 1}, Grid{1, 1}, {}}), HasSubstr("no ids"));
  EXPECT_THAT(message({{16}, {}, {0, 1}, Grid{1, 1}, {}}), HasSubstr("target grid"));
  EXPECT_THAT(message({{16}, {}, {1, 1}, Grid{1, 1}, {-1.0, 0.5, 0}}), HasSubstr("temperature"));
}

TEST(PlaceSources, InOrder) {
  const VisualTokens a{{1, 2}, at::tensor({5, 6}, at::kLong).unsqueeze(0)},
      b{{1, 1}, at::tensor({7}, at::kLong).unsqueeze(0)};
  EXPECT_EQ(place_sources({1, 9, 9, 2, 9}, {a, b}, 9), (std::vector<int64_t>{1, 5, 6, 2, 7}));
}

}  // namespace
}  // namespace glmimage
