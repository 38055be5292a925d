#include "pipeline/prior_batch.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <memory>

#include "core/rng.h"

namespace glmimage {
namespace {

class PriorBatch : public testing::Test {
 protected:
  // Sixteen codes, and text from 20 on.
  static std::unique_ptr<ArModel> model(at::ScalarType dtype) {
    ArConfig c;
    c.vocab_size = 40, c.visual_vocab_size = 20, c.codebook_size = 16;
    c.hidden_size = 64, c.layers = 3, c.intermediate_size = 96, c.heads = 4, c.kv_heads = 2, c.head_dim = 16;
    c.partial_rotary_factor = 1.0, c.mrope_section = {4, 2, 2};
    c.begin_image_id = 16, c.end_image_id = 17, c.image_placeholder_id = 39;
    c.initializer_range = 0.3;
    auto out = std::make_unique<ArModel>(c);
    ParameterList parameters;
    out->list(parameters);
    init_parameters(parameters, make_generator(5));
    for (const Parameter& p : parameters) *p.tensor = p.tensor->to(dtype);
    out->fuse();
    return out;
  }
  static PriorRequest request(std::vector<int64_t> ids, Grid target, SamplerOptions sampling = {1.0, 1.0, 0}) {
    return {.input_ids = std::move(ids), .sources = {}, .target = target, .draft = Grid{2, 2}, .sampling = sampling};
  }
  // Twelve pictures: of one prompt, of others of its length, of other lengths and sizes.
  static std::vector<PriorTask> tasks() {
    std::vector<PriorTask> out;
    for (uint64_t seed = 1; seed <= 9; ++seed) {
      const int64_t word = 30 + static_cast<int64_t>(seed / 3);
      out.push_back({request({word, 31, 16}, {6, 7}), make_generator(seed)});
    }
    out.push_back({request({30, 16}, {6, 7}), make_generator(20)});
    out.push_back({request({33, 31, 16}, {3, 4}), make_generator(21)});
    out.push_back({request({30, 31, 16}, {6, 7}, {0.0, 1.0, 0}), make_generator(22)});
    return out;
  }
  static at::Tensor alone(const ArModel& model, size_t index) {
    PriorTask task = tasks()[index];
    return run_prior(model, task.request, task.generator).output_ids;
  }

  c10::AutoGradMode no_grad{false};
};

class PriorBatchOfType : public PriorBatch, public testing::WithParamInterface<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(, PriorBatchOfType, testing::Values(at::kFloat, at::kBFloat16));

TEST_P(PriorBatchOfType, GivesTheSameIdsAsAlone) {
  const auto ar = model(GetParam());
  std::vector<PriorTask> all = tasks();
  const auto drawn = run_priors(*ar, all);
  ASSERT_EQ(drawn.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(std::holds_alternative<PriorResult>(drawn[i])) << i;
    const PriorResult& result = std::get<PriorResult>(drawn[i]);
    EXPECT_TRUE(result.output_ids.equal(alone(*ar, i))) << i;
    EXPECT_EQ(result.target.grid.height, all[i].request.target.height);
    EXPECT_EQ(result.target.ids.size(1), result.target.grid.count());
  }
  EXPECT_FALSE(alone(*ar, 0).equal(alone(*ar, 1)));  // seeds matter
  EXPECT_FALSE(alone(*ar, 1).equal(alone(*ar, 11)));
}

struct Stops : Progress {
  explicit Stops(int64_t most) : most(most) {}
  void report(Stage, int64_t done, int64_t) override { seen = done; }
  bool cancelled() const override { return seen >= most; }
  int64_t most, seen = -1;
};

TEST_F(PriorBatch, OneThatIsCancelledOrRefusedDoesNotTouchTheOthers) {
  const auto ar = model(at::kBFloat16);
  std::vector<PriorTask> all = tasks();
  Stops at_once(0), later(5);
  all[0].progress = &at_once;
  all[2].progress = &later;
  all[4].request.input_ids = {40, 31, 16};  // beyond the vocabulary
  const auto drawn = run_priors(*ar, all);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == 0 || i == 2 || i == 4) {
      ASSERT_TRUE(std::holds_alternative<Error>(drawn[i])) << i;
      EXPECT_EQ(std::get<Error>(drawn[i]).kind(), i == 4 ? ErrorKind::usage : ErrorKind::cancelled);
    } else {
      ASSERT_TRUE(std::holds_alternative<PriorResult>(drawn[i])) << i;
      EXPECT_TRUE(std::get<PriorResult>(drawn[i]).output_ids.equal(alone(*ar, i))) << i;
    }
  }
  EXPECT_EQ(later.seen, 5);
}

// That a batch is one batch: as many steps of the model as the longest picture has ids, not as all have.
TEST_F(PriorBatch, WeightsAreReadOnceForAll) {
  const auto ar = model(at::kBFloat16);
  struct Counter : LayerListener {
    void before(size_t) override { ++turns; }
    void after(size_t) noexcept override {}
    int64_t turns = 0;
  } counter;
  ar->listener = &counter;
  std::vector<PriorTask> eight(tasks());
  eight.resize(8);
  run_priors(*ar, eight);
  const int64_t layers = 3, ids = 46;
  // Eight prompts, the first step of each alone, and the steps of the batch.
  EXPECT_EQ(counter.turns, layers * (8 + 8 + ids - 1));
}

}  // namespace
}  // namespace glmimage
