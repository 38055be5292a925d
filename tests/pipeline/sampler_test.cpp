#include "pipeline/sampler.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "support/emulated_npu.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor random_logits(int64_t batch, int64_t vocabulary, uint64_t seed) {
  return at::randn({batch, vocabulary}, make_generator(seed), at::kFloat).mul(3);
}

int64_t draw(const at::Tensor& logits, const SamplerOptions& options, int64_t legal, uint64_t seed) {
  at::Generator generator = make_generator(seed);
  return sample(logits, options, legal, generator).item<int64_t>();
}

TEST(Sampler, DrawsWhatMultinomialDraws) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    at::Tensor logits = random_logits(3, 500, seed);
    for (const SamplerOptions& options :
         {SamplerOptions{}, SamplerOptions{1.0, 1.0, 0}, SamplerOptions{1.3, 0.9, 20}}) {
      at::Generator ours = make_generator(seed), theirs = make_generator(seed);
      at::Tensor expected = at::multinomial(sampling_probabilities(logits, options), 1, false, theirs).squeeze(1);
      EXPECT_TRUE(sample(logits, options, 500, ours).equal(expected)) << seed;
      // and leaves the generator in the same state
      EXPECT_EQ(at::check_generator<at::CPUGeneratorImpl>(ours)->random64(),
                at::check_generator<at::CPUGeneratorImpl>(theirs)->random64());
    }
  }
}

TEST(Sampler, ZeroedIllegalIdsKeepLegalDraws) {
  constexpr int64_t kVocabulary = 60, kLegal = 50;
  int legal_draws = 0, illegal_draws = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    at::Tensor logits = random_logits(1, kVocabulary, seed);
    const SamplerOptions options{0.9, 0.75, 0};
    at::Tensor probabilities = sampling_probabilities(logits, options);
    const int64_t reference = at::multinomial(probabilities, 1, false, make_generator(seed)).item<int64_t>();
    const int64_t ours = draw(logits, options, kLegal, seed);
    if (reference < kLegal) {
      EXPECT_EQ(ours, reference);
      ++legal_draws;
    } else {
      EXPECT_LT(ours, kLegal);
      // The documented rule: probabilities set to zero after the softmax, not renormalised, drawn by torch.
      at::Tensor zeroed = probabilities.clone();
      zeroed.narrow(1, kLegal, kVocabulary - kLegal).zero_();
      if (zeroed.sum().item<double>() > 0) {
        EXPECT_EQ(ours, at::multinomial(zeroed, 1, false, make_generator(seed)).item<int64_t>());
      }
      ++illegal_draws;
    }
  }
  EXPECT_GT(legal_draws, 100);
  EXPECT_GT(illegal_draws, 10);
}

TEST(Sampler, LargestLegalLogitWhenOnlyIllegalIdsRemain) {
  at::Tensor logits = at::tensor({0.f, 2.f, 1.f, 90.f}).unsqueeze(0);
  at::Generator generator = make_generator(1), other = make_generator(1);
  EXPECT_EQ(sample(logits, {0.9, 0.75, 0}, 3, generator).item<int64_t>(), 1);
  // The draw was consumed all the same.
  sample(at::full({1, 4}, 0, at::kFloat), {0.9, 1.0, 0}, 4, other);
  EXPECT_EQ(at::check_generator<at::CPUGeneratorImpl>(generator)->random64(),
            at::check_generator<at::CPUGeneratorImpl>(other)->random64());
}

TEST(Sampler, GreedyDrawsNothing) {
  at::Tensor logits = at::tensor({0.f, 2.f, 1.f, 90.f}).unsqueeze(0);
  at::Generator generator = make_generator(1), untouched = make_generator(1);
  EXPECT_EQ(sample(logits, {0.0, 0.75, 0}, 3, generator).item<int64_t>(), 1);
  EXPECT_EQ(sample(logits, {0.0, 0.75, 0}, 4, generator).item<int64_t>(), 3);
  EXPECT_EQ(at::check_generator<at::CPUGeneratorImpl>(generator)->random64(),
            at::check_generator<at::CPUGeneratorImpl>(untouched)->random64());
}

TEST(Sampler, TopPKeepsTheIdThatCrossesTheBound) {
  // Exact in binary: 1/8, 1/8, 1/4, 1/2. Running sums from the small end: 1/8, 1/4, 1/2, 1.
  at::Tensor logits = at::tensor({std::log(0.5f), std::log(0.25f), std::log(0.125f), std::log(0.125f)}).unsqueeze(0);
  auto kept = [&](double top_p) {
    at::Tensor p = sampling_probabilities(logits, {1.0, top_p, 0});
    return p.gt(0).sum().item<int64_t>();
  };
  EXPECT_EQ(kept(1.0), 4);
  EXPECT_EQ(kept(0.8), 3);   // 1/8 <= 0.2 goes, 1/4 stays
  EXPECT_EQ(kept(0.7), 2);   // 1/4 <= 0.3 goes
  EXPECT_EQ(kept(0.45), 1);  // 1/2 <= 0.55 goes
  EXPECT_EQ(kept(0.0), 1);   // never the largest
}

// The rule in its plain form, by a full sort.
at::Tensor top_p_by_sorting(const at::Tensor& logits, double top_p) {
  auto [sorted, order] = at::sort(logits, 1, false);
  at::Tensor removed = at::softmax(sorted, 1).cumsum(1).le(1.0 - top_p);
  removed.narrow(1, removed.size(1) - 1, 1).fill_(false);
  return at::softmax(logits.masked_fill(removed.scatter(1, order, removed), -kInfinity), 1);
}

// Small operators in a row: more threads would only wait for each other.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
  const int before = at::get_num_threads();
};

TEST(Sampler, TopPWithoutAFullSortIsTheSame) {
  const OneThread one_thread;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const int64_t vocabulary = seed % 10 == 0 ? 16512 : 300;
    at::Tensor logits =
        at::randn({2, vocabulary}, make_generator(seed), at::kFloat).mul(0.1 * static_cast<double>(seed));
    if (seed % 4 == 1) logits = logits.mul(4).round().div(4);  // ties
    for (double top_p : {0.999, 0.75, 0.5, 0.01}) {
      EXPECT_TRUE(sampling_probabilities(logits, {1.0, top_p, 0}).equal(top_p_by_sorting(logits, top_p)))
          << seed << " " << top_p;
    }
  }
}

TEST(Sampler, AgreesWithTheReference) {
  const OneThread one_thread;
  const SafetensorsFile file = SafetensorsFile::open(test::golden("sampler.safetensors"));
  std::ifstream settings(test::golden("sampler.json"));
  for (const auto& entry : nlohmann::json::parse(settings)) {
    const auto name = entry.at("name").get<std::string>();
    SCOPED_TRACE(name);
    const SamplerOptions options{entry.at("temperature").get<double>(), entry.at("top_p").get<double>(),
                                 entry.at("top_k").get<int64_t>()};
    at::Tensor logits = file.tensor(name + ".logits").to(at::kFloat), expected = file.tensor(name + ".ids");
    at::Tensor probabilities = sampling_probabilities(logits, options);
    if (file.find(name + ".probabilities")) {
      EXPECT_LT(test::relative_error(probabilities, file.tensor(name + ".probabilities")), 1e-6);
    } else {
      EXPECT_TRUE(probabilities[0].nonzero().squeeze(1).equal(file.tensor(name + ".kept").to(at::kLong)));
    }
    at::Generator generator = make_generator(entry.at("seed").get<uint64_t>());
    for (int64_t i = 0; i < expected.size(0); ++i) {
      EXPECT_TRUE(sample(logits, options, logits.size(1), generator).equal(expected[i])) << i;
    }
  }
}

TEST(Sampler, TopKKeepsTiesWithTheLast) {
  at::Tensor logits = at::tensor({1.f, 3.f, 2.f, 2.f, 0.f}).unsqueeze(0);
  at::Tensor p = sampling_probabilities(logits, {1.0, 1.0, 2});
  EXPECT_EQ(p.gt(0).sum().item<int64_t>(), 3);
  EXPECT_NEAR(p.sum().item<double>(), 1, 1e-6);
  EXPECT_EQ(sampling_probabilities(logits, {1.0, 1.0, 99}).gt(0).sum().item<int64_t>(), 5);
}

TEST(Sampler, TemperatureDividesTheLogits) {
  at::Tensor logits = random_logits(2, 9, 3);
  EXPECT_TRUE(sampling_probabilities(logits, {0.5, 1.0, 0}).equal(at::softmax(logits.div(0.5), 1)));
}

TEST(Sampler, NarrowLogitsAreWidenedFirst) {
  at::Tensor logits = random_logits(1, 64, 9).to(at::kBFloat16);
  EXPECT_EQ(draw(logits, {}, 64, 4), draw(logits.to(at::kFloat), {}, 64, 4));
}

TEST(Sampler, RefusesWhatIsNotANumber) {
  at::Tensor logits = at::full({1, 5}, std::nan(""), at::kFloat);
  EXPECT_THROW(draw(logits, {}, 5, 1), Error);
  EXPECT_THROW(draw(logits, {0.0, 1.0, 0}, 5, 1), Error);
  EXPECT_THROW(validate({-1.0, 0.5, 0}), Error);
  EXPECT_THROW(validate({kInfinity, 0.5, 0}), Error);
  EXPECT_THROW(validate({std::nan(""), 0.5, 0}), Error);
  EXPECT_THROW(validate({1.0, 1.5, 0}), Error);
  EXPECT_THROW(validate({1.0, std::nan(""), 0}), Error);
  EXPECT_THROW(validate({1.0, 0.5, -1}), Error);
  EXPECT_NO_THROW(validate({0.0, 1.0, 0}));
}

// On a device the noise is drawn first, for many ids, and the draw happens where the logits are.
TEST(Sampler, InPlaceDrawsTheSameIds) {
  constexpr int64_t kIds = 8, kVocabulary = 700, kLegal = 640;
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  for (const SamplerOptions& options :
       {SamplerOptions{}, SamplerOptions{1.0, 1.0, 0}, SamplerOptions{1.3, 0.9, 20}, SamplerOptions{0.0, 0.75, 0}}) {
    at::Generator one_by_one = make_generator(3), ahead = make_generator(3);
    const at::Tensor noise = draw_noise(kIds, kVocabulary, options, ahead).to(npu.device());
    for (int64_t i = 0; i < kIds; ++i) {
      const at::Tensor logits = random_logits(1, kVocabulary, 100 + static_cast<uint64_t>(i));
      const at::Tensor expected = sample(logits, options, kLegal, one_by_one), there = logits.to(npu.device());
      npu.reset_counts();
      const at::Tensor id = sample_in_place(there, noise.narrow(0, i, 1), options, kLegal);
      EXPECT_EQ(npu.bytes_to_host(), 0) << "nobody waits";
      EXPECT_EQ(id.device(), npu.device());
      EXPECT_TRUE(id.cpu().equal(expected)) << options.temperature << " " << i;
    }
    EXPECT_EQ(at::check_generator<at::CPUGeneratorImpl>(one_by_one)->random64(),
              at::check_generator<at::CPUGeneratorImpl>(ahead)->random64());
  }
}

TEST(Sampler, InPlaceFallsBackAndMarksWhatIsNotANumber) {
  const SamplerOptions options{0.9, 0.75, 0};
  at::Generator generator = make_generator(1);
  const at::Tensor noise = draw_noise(1, 4, options, generator);
  EXPECT_EQ(sample_in_place(at::tensor({0.f, 1.f, 0.5f, 90.f}).unsqueeze(0), noise, options, 3).item<int64_t>(), 1)
      << "no legal id has a probability";
  for (const SamplerOptions& each : {options, SamplerOptions{0.0, 0.75, 0}}) {
    const at::Tensor broken = at::full({1, 4}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
    const at::Tensor id = sample_in_place(broken, noise, each, 3);
    EXPECT_EQ(id.item<int64_t>(), -1);
    EXPECT_THROW(check_drawn(id), Error);
  }
  EXPECT_NO_THROW(check_drawn(at::tensor({int64_t{0}, int64_t{5}})));
}

}  // namespace
}  // namespace glmimage
