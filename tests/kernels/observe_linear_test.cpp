#include "kernels/observe_linear.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/linear.h"

namespace glmimage::kernels {
namespace {

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

struct Seen {
  std::vector<at::Tensor> x, weight;
  void operator()(const at::Tensor& a, const at::Tensor& w) {
    x.push_back(a);
    weight.push_back(w);
  }
};

TEST(ObserveLinear, ShowsEveryProductOnceAndNothingAfterwards) {
  const at::Tensor x = drawn({2, 3, 8}, 1), w = drawn({4, 8}, 2), narrow = x.to(at::kBFloat16);
  const Quantised few = quantise(w, 8, 0);
  const at::Tensor plain = kernels::linear(x, w);
  Seen seen;
  const auto work = [&] {
    EXPECT_TRUE(at::equal(kernels::linear(x, w), plain));
    kernels::linear(narrow, w.to(at::kBFloat16));
    at::linear(x, w);                       // not ours
    quantised_linear(x, few.q, few.scale);  // of few bits already
    std::thread([&] { kernels::linear(x, w); }).join();
    const c10::InferenceMode drawing;  // as the pipeline does
    kernels::linear(x, w);
  };
  observe_linear(work, std::ref(seen));
  ASSERT_EQ(seen.x.size(), 3U);
  EXPECT_TRUE(seen.x[0].is_same(x));
  EXPECT_TRUE(seen.weight[0].is_same(w));
  EXPECT_TRUE(seen.x[1].is_same(narrow));
  EXPECT_TRUE(seen.x[2].is_same(x));
  kernels::linear(x, w);
  EXPECT_EQ(seen.x.size(), 3U);
}

TEST(ObserveLinear, DoesNotSeeItsOwnProducts) {
  const at::Tensor x = drawn({3, 8}, 1), w = drawn({4, 8}, 2);
  int seen = 0;
  observe_linear([&] { kernels::linear(x, w); },
                 [&](const at::Tensor& a, const at::Tensor& b) { kernels::linear(a, b), ++seen; });
  EXPECT_EQ(seen, 1);
}

TEST(ObserveLinear, FaultsArePassedOnAndEndIt) {
  const at::Tensor x = drawn({3, 8}, 1), w = drawn({4, 8}, 2);
  int seen = 0, done = 0;
  const auto fault = [&](const at::Tensor&, const at::Tensor&) {
    ++seen;
    throw std::runtime_error("seen");
  };
  const auto work = [&] { kernels::linear(x, w), kernels::linear(x, w), ++done; };
  EXPECT_THROW(observe_linear(work, fault), std::runtime_error);
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(done, 1);

  Seen all;
  EXPECT_THROW(observe_linear([&] { fail(ErrorKind::cancelled, "stop"); }, std::ref(all)), Error);
  kernels::linear(x, w);
  EXPECT_TRUE(all.x.empty());
  observe_linear([&] { kernels::linear(x, w); }, std::ref(all));  // and it can be done again
  EXPECT_EQ(all.x.size(), 1U);
  EXPECT_THROW(observe_linear([&] { observe_linear(work, std::ref(all)); }, std::ref(all)), Error);
}

}  // namespace
}  // namespace glmimage::kernels
