#include "pipeline/denoise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using test::golden;
using test::relative_error;

// Rounding grows over the steps of these unruly random models; a wrong step shows at 1e-1.
constexpr double kTolerance = 2e-4;

struct Checkpoint {
  explicit Checkpoint(const std::string& name)
      : name(name),
        model(DitModel::open(golden(name + "/checkpoint/transformer"), {.dtype = at::kFloat})),
        scheduler(
            SchedulerConfig::from_json(JsonObject::open(golden(name + "/checkpoint/scheduler/scheduler_config.json")))),
        cases(JsonObject::open(golden(name + "/manifest.json")).value().at("cases")) {}

  SafetensorsFile trace(const nlohmann::json& entry) const {
    return SafetensorsFile::open(golden(name + "/" + entry.at("file").get<std::string>()));
  }
  nlohmann::json find(const std::string& wanted) const {
    for (const auto& entry : cases) {
      if (entry.at("name") == wanted) return entry;
    }
    return {};
  }
  std::vector<Reference> references(const SafetensorsFile& trace) const {
    std::vector<Reference> out;
    for (int i = 0; trace.find(concat("references.", i, ".latents")); ++i) {
      const std::string prefix = concat("references.", i, ".");
      const at::Tensor latents = trace.tensor(prefix + "latents"), grid = trace.tensor(prefix + "grid");
      const Grid g = {grid[0].item<int64_t>(), grid[1].item<int64_t>()};
      out.push_back({latents, {g, trace.tensor(prefix + "token_ids")}, 8 * latents.size(2), 8 * latents.size(3)});
    }
    return out;
  }
  DenoiseRequest request(const nlohmann::json& entry, const SafetensorsFile& trace, const ReferenceCache& cache) const {
    const at::Tensor prior = trace.tensor("prior_token_ids");
    return {
        .model = model,
        .schedule = make_schedule(scheduler, entry.at("steps"), prior.size(1)),
        .noise = trace.tensor("noise"),
        .glyphs = trace.tensor("glyph.embeds"),
        .negative_glyphs = trace.find("glyph.negative_embeds") ? trace.tensor("glyph.negative_embeds") : at::Tensor(),
        .prior_ids = prior,
        .height = entry.at("height"),
        .width = entry.at("width"),
        .crop_top = entry.at("crop")[0],
        .crop_left = entry.at("crop")[1],
        .references = cache.empty() ? nullptr : &cache,
        .guidance_scale = entry.at("guidance_scale")};
  }

  std::string name;
  DitModel model;
  SchedulerConfig scheduler;
  nlohmann::json cases;
};

class Denoise : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Goldens, Denoise, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(Denoise, EveryCaseEqualsTheReference) {
  const Checkpoint checkpoint(GetParam());
  for (const auto& entry : checkpoint.cases) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const SafetensorsFile trace = checkpoint.trace(entry);
    const ReferenceCache cache = encode_references(checkpoint.model, checkpoint.references(trace));
    EXPECT_EQ(cache.empty(), entry.at("pictures").empty());
    DenoiseRequest request = checkpoint.request(entry, trace, cache);
    EXPECT_TRUE(at::equal(request.schedule.sigmas, trace.tensor("sigmas")));
    EXPECT_TRUE(at::equal(request.schedule.timesteps, trace.tensor("timesteps")));

    // The estimate after each step, from the reference's velocities: latents - sigma·v.
    at::Tensor latents = request.noise;
    std::vector<double> errors;
    request.preview = [&](int64_t i, const at::Tensor& x0) {
      const at::Tensor v = trace.tensor(concat("step.", i, ".velocity")), sigmas = trace.tensor("sigmas");
      errors.push_back(relative_error(x0, latents - sigmas[i] * v));
      latents = latents + (sigmas[i + 1] - sigmas[i]) * v;
    };
    EXPECT_LT(relative_error(denoise(request), trace.tensor("latents")), kTolerance);
    EXPECT_THAT(errors, ::testing::SizeIs(request.schedule.steps()));
    EXPECT_THAT(errors, ::testing::Each(::testing::Lt(kTolerance)));
  }
}

// Calls check with a request from words alone and with one that has a picture to edit.
template <typename Check>
void with_text_and_edit(const Checkpoint& checkpoint, const Check& check) {
  for (const char* name : {"t2i_square", "edit_one"}) {
    const nlohmann::json entry = checkpoint.find(name);
    const SafetensorsFile trace = checkpoint.trace(entry);
    const ReferenceCache cache = encode_references(checkpoint.model, checkpoint.references(trace));
    check(name, checkpoint.request(entry, trace, cache));
  }
}

TEST_P(Denoise, ABatchOfPicturesEqualsSingleRuns) {
  const Checkpoint checkpoint(GetParam());
  with_text_and_edit(checkpoint, [&](const std::string& name, DenoiseRequest request) {
    const at::Tensor first = request.noise, second = request.noise.flip(3);
    const at::Tensor one = denoise(request);
    request.noise = second;
    const at::Tensor two = denoise(request);
    request.noise = at::cat({first, second});
    EXPECT_LT(relative_error(denoise(request), at::cat({one, two})), 1e-5) << name;
  });
}

// Other words have other numbers of glyphs: the shorter ones are padded.
TEST_P(Denoise, ABatchOfPaddedGlyphsEqualsSingleRuns) {
  const Checkpoint checkpoint(GetParam());
  with_text_and_edit(checkpoint, [&](const std::string& name, DenoiseRequest request) {
    const at::Tensor few = request.glyphs, many = at::cat({few, few.flip(1)}, 1);
    const at::Tensor one = denoise(request);
    request.glyphs = many;
    const at::Tensor two = denoise(request);
    request.noise = at::cat({request.noise, request.noise});
    request.glyphs = at::cat({at::cat({few, at::full_like(few, 7)}, 1), many});
    request.glyph_mask = at::ones({2, many.size(1)}, at::kBool);
    request.glyph_mask[0].narrow(0, few.size(1), few.size(1)).fill_(false);
    EXPECT_LT(relative_error(denoise(request), at::cat({one, two})), 1e-5) << name;
  });
}

TEST_P(Denoise, StepsAreTheCallersOwnWhereAskedFor) {
  const Checkpoint checkpoint(GetParam());
  with_text_and_edit(checkpoint, [&](const std::string& name, DenoiseRequest request) {
    const at::Tensor expected = denoise(request), sigmas = request.schedule.sigmas;
    std::vector<int64_t> steps;
    request.advance = [&](int64_t i, const at::Tensor& latents, const at::Tensor& velocity) {
      steps.push_back(i);
      return latents + velocity * (sigmas[i + 1] - sigmas[i]).item<float>();
    };
    EXPECT_TRUE(at::equal(denoise(request), expected)) << name;
    EXPECT_THAT(steps, ::testing::SizeIs(request.schedule.steps()));
    request.advance = [&](int64_t, const at::Tensor& latents, const at::Tensor&) { return latents; };
    EXPECT_TRUE(at::equal(denoise(request), request.noise)) << name;
  });
}

// What is drawn under a policy, and how many passes were cut short.
struct CachedRun {
  at::Tensor latents;
  PassCount count;
};

CachedRun denoise_with(DenoiseRequest request, const CachePolicy& policy) {
  StepCache cache(policy, request.schedule.steps());
  request.cache = &cache;
  const at::Tensor latents = denoise(request);
  return {latents, cache.count()};
}

TEST_P(Denoise, ACacheThatNeverReusesChangesNoBit) {
  const Checkpoint checkpoint(GetParam());
  with_text_and_edit(checkpoint, [&](const std::string& name, DenoiseRequest request) {
    request.schedule = make_schedule(checkpoint.scheduler, 8, request.prior_ids.size(1));
    const at::Tensor expected = denoise(request);
    for (const CachePolicy& policy : {CachePolicy{}, CachePolicy{.method = CacheMethod::first_block, .threshold = 0},
                                      CachePolicy{.method = CacheMethod::first_block, .threshold = 100, .interval = 1},
                                      CachePolicy{.method = CacheMethod::taylor, .interval = 1}}) {
      const CachedRun run = denoise_with(request, policy);
      EXPECT_TRUE(at::equal(run.latents, expected)) << name << " " << policy.to_json();
      EXPECT_EQ(run.count.passes, 16);
      EXPECT_EQ(run.count.reused, 0);
    }
  });
}

// Of twelve steps with an interval of three: full are 0, 3, 6, 9 and the last.
TEST_P(Denoise, CachesReuseAsManyPassesAsTheIntervalAllows) {
  const Checkpoint checkpoint(GetParam());
  with_text_and_edit(checkpoint, [&](const std::string& name, DenoiseRequest request) {
    request.schedule = make_schedule(checkpoint.scheduler, 12, request.prior_ids.size(1));
    const at::Tensor expected = denoise(request);
    const CachePolicy first_block = {.method = CacheMethod::first_block, .threshold = 100, .interval = 3};
    const CachePolicy taylor = {.method = CacheMethod::taylor, .interval = 3};
    const CachedRun reused = denoise_with(request, first_block), guessed = denoise_with(request, taylor);
    EXPECT_EQ(reused.count.passes, 24) << name;
    EXPECT_EQ(reused.count.reused, 2 * 7) << name;
    EXPECT_EQ(guessed.count.reused, 2 * 7) << name;
    for (const CachedRun& run : {reused, guessed}) {
      EXPECT_FALSE(at::equal(run.latents, expected)) << name;
      EXPECT_LT(relative_error(run.latents, expected), 0.5) << name;  // another picture, but of the same noise
    }
    request.guidance_scale = 1;
    EXPECT_EQ(denoise_with(request, first_block).count.passes, 12) << name;
    EXPECT_EQ(denoise_with(request, first_block).count.reused, 7) << name;

    request.guidance_scale = 1.5;
    request.noise = at::cat({request.noise, request.noise.flip(3)});
    EXPECT_LT(relative_error(denoise_with(request, taylor).latents.narrow(0, 0, 1), guessed.latents), 1e-4) << name;
  });
}

TEST(Denoise, GuidanceOfOneIsTheConditionalPassAlone) {
  const Checkpoint checkpoint("tiny_a");
  const nlohmann::json entry = checkpoint.find("t2i_square");
  const SafetensorsFile trace = checkpoint.trace(entry);
  const ReferenceCache none;
  DenoiseRequest request = checkpoint.request(entry, trace, none);
  request.negative_glyphs = at::Tensor();
  EXPECT_THROW(denoise(request), Error);
  request.guidance_scale = 1.0;
  const at::Tensor one = denoise(request);
  request.guidance_scale = 0.3;
  EXPECT_TRUE(at::equal(denoise(request), one));
  request.guidance_scale = 1.0 + 1e-9;
  request.negative_glyphs = trace.tensor("glyph.negative_embeds");
  EXPECT_LT(relative_error(denoise(request), one), 1e-5);
}

// Remembers what it is told, and cancels when `stop_at` reports came.
struct Recorder : Progress {
  explicit Recorder(size_t stop_at = 1000) : stop_at(stop_at) {}
  void report(Stage stage, int64_t done, int64_t total) override { seen.push_back({stage, done, total}); }
  bool cancelled() const override { return seen.size() >= stop_at; }
  size_t stop_at;
  std::vector<std::tuple<Stage, int64_t, int64_t>> seen;
};

TEST(Denoise, ReportsEveryStepAndStopsWhenCancelled) {
  const Checkpoint checkpoint("tiny_a");
  const nlohmann::json entry = checkpoint.find("edit_two");
  const SafetensorsFile trace = checkpoint.trace(entry);
  Recorder all;
  const ReferenceCache cache = encode_references(checkpoint.model, checkpoint.references(trace), &all);
  EXPECT_THAT(all.seen, ::testing::ElementsAre(std::tuple(Stage::references, 0, 2), std::tuple(Stage::references, 1, 2),
                                               std::tuple(Stage::references, 2, 2)));
  all.seen.clear();
  DenoiseRequest request = checkpoint.request(entry, trace, cache);
  request.progress = &all;
  denoise(request);
  const int64_t steps = request.schedule.steps();
  ASSERT_EQ(all.seen.size(), static_cast<size_t>(steps + 1));
  EXPECT_EQ(all.seen.front(), std::tuple(Stage::denoise, 0, steps));
  EXPECT_EQ(all.seen.back(), std::tuple(Stage::denoise, steps, steps));

  Recorder stopping(2);
  request.progress = &stopping;
  int64_t previews = 0;
  request.preview = [&](int64_t, const at::Tensor&) { ++previews; };
  try {
    denoise(request);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::cancelled);
  }
  EXPECT_EQ(previews, 2);
}

TEST(Denoise, RefusesIdsAndSizesThatDoNotFit) {
  const Checkpoint checkpoint("tiny_a");
  const nlohmann::json entry = checkpoint.find("edit_one");
  const SafetensorsFile trace = checkpoint.trace(entry);
  const ReferenceCache none;
  DenoiseRequest request = checkpoint.request(entry, trace, none);
  request.prior_ids = request.prior_ids.clone().fill_(checkpoint.model.config.codes);
  try {
    denoise(request);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("visual tokens"));
  }
  std::vector<Reference> references = checkpoint.references(trace);
  references[0].latents = references[0].latents.narrow(2, 2, references[0].latents.size(2) - 2);
  try {
    encode_references(checkpoint.model, references);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("reference picture 1"));
  }
}

}  // namespace
}  // namespace glmimage
