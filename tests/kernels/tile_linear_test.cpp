#include "kernels/cpu/tile_linear.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <tuple>
#include <vector>

#include "core/rng.h"
#include "kernels/linear.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using test::relative_error;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

class TileLinear : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cpu::can_tile(drawn({16, 8}, 1), drawn({4096, 8}, 2), {})) GTEST_SKIP() << "not on this processor";
  }
  void TearDown() override { at::set_num_threads(threads_); }

 private:
  const int threads_ = at::get_num_threads();
};

// Tokens that fill one, two and three registers, whole tiles and more than one; widths and rows that are no multiple of
// sixteen, nor of eight; tokens that are laid in several parts.
TEST_F(TileLinear, EqualsTheProductInDoubles) {
  for (const auto& [tokens, in, out] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {16, 16, 16}, {17, 19, 5}, {33, 8, 41}, {48, 64, 136}, {70, 100, 57}, {144, 33, 200}, {530, 4100, 39}}) {
    const at::Tensor x = drawn({1, tokens, in}, 1), w = drawn({out, in}, 2), b = drawn({out}, 3);
    const at::Tensor exact = at::linear(x.to(at::kDouble), w.to(at::kDouble));
    at::Tensor first;
    for (const int threads : {1, 3}) {
      at::set_num_threads(threads);
      const at::Tensor y = cpu::tile_linear(x, w, b);
      EXPECT_LT(relative_error(y, exact + b.to(at::kDouble)), 1e-5) << tokens << " " << in << " " << out;
      EXPECT_LT(relative_error(cpu::tile_linear(x, w, {}), exact), 1e-5) << tokens << " " << in << " " << out;
      if (threads == 1) first = y;
      EXPECT_TRUE(at::equal(y, first));
    }
  }
}

TEST_F(TileLinear, ReadsTokensOfAnyStride) {
  const at::Tensor x = drawn({24, 40}, 1), w = drawn({50, 24}, 2);
  EXPECT_TRUE(at::equal(cpu::tile_linear(x.t(), w, {}), cpu::tile_linear(x.t().contiguous(), w, {})));
}

// One token does not touch the others, be it no number.
TEST_F(TileLinear, KeepsTokensApart) {
  at::Tensor x = drawn({50, 24}, 1);
  const at::Tensor w = drawn({50, 24}, 2), before = cpu::tile_linear(x, w, {});
  x.select(0, 49).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor after = cpu::tile_linear(x, w, {});
  EXPECT_TRUE(at::equal(after.narrow(0, 0, 49), before.narrow(0, 0, 49)));
  EXPECT_TRUE(after.select(0, 49).isnan().all().item<bool>());
}

TEST_F(TileLinear, TakesFloatsOfManyRowsAlone) {
  at::set_num_threads(2);
  const at::Tensor x = drawn({16, 64}, 1), w = drawn({256, 64}, 2), b = drawn({256}, 3);
  EXPECT_TRUE(cpu::can_tile(x, w, b));
  EXPECT_FALSE(cpu::can_tile(x.narrow(0, 0, 15), w, b));    // few tokens
  EXPECT_FALSE(cpu::can_tile(x, w.narrow(0, 0, 255), {}));  // few rows for two threads
  EXPECT_FALSE(cpu::can_tile(x.to(at::kBFloat16), w.to(at::kBFloat16), {}));
  EXPECT_FALSE(cpu::can_tile(x, w, b.to(at::kDouble)));
  EXPECT_FALSE(cpu::can_tile(x, drawn({64, 256}, 4).t(), b));  // not in rows
  EXPECT_FALSE(cpu::can_tile(x.narrow(1, 0, 63), w, b));       // widths that do not fit are LibTorch's to refuse
}

// With a history the composition runs, whose gradient autograd knows.
TEST_F(TileLinear, LeavesGradientsToTheComposition) {
  const at::Tensor x = drawn({32, 64}, 1).requires_grad_(), w = drawn({512, 64}, 2).requires_grad_();
  kernels::linear(x, w).square().sum().backward();
  const at::Tensor x2 = x.detach().to(at::kDouble).requires_grad_(), w2 = w.detach().to(at::kDouble).requires_grad_();
  at::linear(x2, w2).square().sum().backward();
  EXPECT_LT(relative_error(x.grad(), x2.grad()), 1e-5);
  EXPECT_LT(relative_error(w.grad(), w2.grad()), 1e-5);
}

}  // namespace
}  // namespace glmimage::kernels
