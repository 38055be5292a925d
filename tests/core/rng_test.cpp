#include "core/rng.h"

#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <set>

#include "support/goldens.h"

namespace glmimage {
namespace {

// torch.randn(4, generator=torch.Generator('cpu').manual_seed(7)) of Python's torch 2.11.0.
TEST(Rng, GivesPythonsNumbers) {
  const double expected[] = {-0.14679509, 0.78614128, 0.94682163, -1.114344};
  const at::Tensor x = at::randn({4}, make_generator(7), at::kFloat);  // (4)
  for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(x[i].item<float>(), expected[i]);
  // 16 values and more take a vectorised path.
  const double expected_large[] = {-0.82013452, 0.39563116, 0.8989085, -1.3884039};
  const at::Tensor y = at::randn({16}, make_generator(7), at::kFloat);  // (16)
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(y[i].item<float>(), expected_large[i], 1e-6);
}

TEST(Rng, GeneratorsAreIndependent) {
  at::Generator a = make_generator(1), b = make_generator(1);
  at::randn({5}, a);
  at::Tensor first = at::rand({3}, b);                         // (3)
  EXPECT_TRUE(first.equal(at::rand({3}, make_generator(1))));  // drawing from a did not move b
  EXPECT_FALSE(first.equal(at::rand({3}, make_generator(2))));
  EXPECT_FALSE(first.equal(at::rand({3}, b)));
}

TEST(Rng, LargeSeedsDiffer) {
  const uint64_t large = (uint64_t{1} << 63) - 1;
  EXPECT_TRUE(at::randn({4}, make_generator(large)).equal(at::randn({4}, make_generator(large))));
  EXPECT_FALSE(at::randn({4}, make_generator(large)).equal(at::randn({4}, make_generator(7))));
}

TEST(Rng, RandomSeedsDifferAndFit63Bits) {
  std::set<uint64_t> seeds;
  for (int i = 0; i < 32; ++i) seeds.insert(random_seed());
  EXPECT_EQ(seeds.size(), 32U);
  EXPECT_LT(*seeds.rbegin(), uint64_t{1} << 63);
}

}  // namespace
}  // namespace glmimage
