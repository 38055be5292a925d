// What is done around CUDA's operators for few bits. There is no such device here: at::_int_mm is LibTorch's own of the
// processor, and the two operators of 4 bits are played, lane by lane as pytorch's int4mm.cu has them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <vector>

#include "core/rng.h"
#include "kernels/cuda/linear.h"
#include "kernels/linear.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

// Where value `i` (0 … 7) of the word `w` of lane `t` in the tiles (n, o) stands in the matrix, and at which bits: in
// the tensor core's order of 8 rows and 2 x 16 columns.
struct Place {
  int64_t row, column, bits;
};

Place place_of(int64_t n, int64_t o, int64_t t, int64_t w, int64_t i, int64_t inner) {
  const int64_t byte = i / 2, odd = i % 2;  // of four bytes of the row, the even value in the high half
  const int64_t base = (o * inner + 2 * w) * 8;
  return {8 * n + t / 4, 2 * (base + t % 4 + 4 * byte) + odd, 4 * byte + 16 * odd};
}

template <typename Visit>
void each_place(at::IntArrayRef tiles, const Visit& visit) {
  const int64_t inner = 2 * tiles[3];
  for (int64_t n = 0; n < tiles[0]; ++n) {
    for (int64_t o = 0; o < tiles[1]; ++o) {
      for (int64_t t = 0; t < 32; ++t) {
        for (int64_t w = 0; w < tiles[3]; ++w) {
          for (int64_t i = 0; i < 8; ++i) {
            visit(((n * tiles[1] + o) * 32 + t) * tiles[3] + w, place_of(n, o, t, w, i, inner));
          }
        }
      }
    }
  }
}

// (out, in / 2) uint8, the first of two values in the high half -> (out / 8, in / (16·inner), 32, inner / 2) int32.
at::Tensor convert_weight_to_int4pack(const at::Tensor& q, int64_t inner) {
  TORCH_CHECK(q.scalar_type() == at::kByte && q.is_contiguous() && q.size(0) % 8 == 0 &&
              2 * q.size(1) % (16 * inner) == 0);
  const at::Tensor out = at::zeros({q.size(0) / 8, 2 * q.size(1) / (16 * inner), 32, inner / 2}, at::kInt);
  const auto* bytes = q.const_data_ptr<uint8_t>();
  auto* words = reinterpret_cast<uint32_t*>(out.mutable_data_ptr<int32_t>());
  each_place(out.sizes(), [&](int64_t word, const Place& p) {
    const uint32_t byte = bytes[p.row * q.size(1) + p.column / 2];
    words[word] |= (p.column % 2 == 0 ? byte >> 4 : byte & 15U) << p.bits;
  });
  return out;
}

// Values are (q - 8) · scale + zero, scales and zeros (groups, out, 2) bfloat16.
at::Tensor weight_int4pack_mm(const at::Tensor& x, const at::Tensor& q, int64_t group, const at::Tensor& scales) {
  const int64_t out = 8 * q.size(0), in = q.size(1) * 32 * q.size(3);
  TORCH_CHECK(x.scalar_type() == at::kBFloat16 && x.dim() == 2 && x.is_contiguous() && x.size(1) == in);
  TORCH_CHECK(q.is_contiguous() && (group == 32 || group == 64 || group == 128 || group == 256));
  TORCH_CHECK(scales.scalar_type() == at::kBFloat16 && scales.is_contiguous() &&
              scales.sizes().vec() == (std::vector<int64_t>{in / group, out, 2}));
  const at::Tensor wide = scales.to(at::kFloat), weight = at::zeros({out, in}, at::kFloat);
  const auto* words = reinterpret_cast<const uint32_t*>(q.const_data_ptr<int32_t>());
  const auto* pairs = wide.const_data_ptr<float>();
  auto* values = weight.mutable_data_ptr<float>();
  each_place(q.sizes(), [&](int64_t word, const Place& p) {
    const float* pair = pairs + (p.column / group * out + p.row) * 2;
    values[p.row * in + p.column] =
        static_cast<float>(static_cast<int>(words[word] >> p.bits & 15U) - 8) * pair[0] + pair[1];
  });
  return x.to(at::kFloat).matmul(weight.t()).to(at::kBFloat16);
}

TORCH_LIBRARY_IMPL(aten, CPU, m) {
  m.impl("_convert_weight_to_int4pack", convert_weight_to_int4pack);
  m.impl("_weight_int4pack_mm", weight_int4pack_mm);
}

TEST(Cuda, TilesHoldTheSameIntegers) {
  for (const int64_t in : {32, 64, 128, 192}) {  // 2, 4, 8 and 4 tiles behind each other
    const Quantised few = quantise(drawn({24, in}, 1), 4, 32);
    ASSERT_TRUE(cuda::can_tile(few.q, few.scale)) << in;
    const at::Tensor tiles = cuda::tiles(few.q);
    EXPECT_EQ(tiles.nbytes(), few.q.nbytes());
    EXPECT_TRUE(cuda::from_tiles(tiles).equal(few.q)) << in;
    EXPECT_TRUE(dequantise(tiles, few.scale, at::kFloat).equal(dequantise(few.q, few.scale, at::kFloat)));
  }
}

TEST(Cuda, JoinedTilesAreTilesOfJoinedRows) {
  const Quantised a = quantise(drawn({16, 64}, 1), 4, 32), b = quantise(drawn({8, 64}, 2), 4, 32);
  EXPECT_TRUE(at::cat({cuda::tiles(a.q), cuda::tiles(b.q)}).equal(cuda::tiles(at::cat({a.q, b.q}))));
}

TEST(Cuda, ProductsOfFewTokensReadTiles) {
  for (const int64_t group : {32, 64, 128}) {
    const Quantised few = quantise(drawn({24, 128}, 1), 4, group);
    const at::Tensor tiles = cuda::tiles(few.q), bias = drawn({24}, 3).to(at::kBFloat16);
    for (const int64_t tokens : {1, 16}) {
      const at::Tensor x = drawn({1, tokens, 128}, 2).to(at::kBFloat16);
      for (const at::Tensor& scale : {few.scale, few.scale.to(at::kFloat), cuda::with_zeros(few.scale)}) {
        ASSERT_TRUE(cuda::can_multiply_tiles(x, tiles, scale, bias));
        const at::Tensor got = cuda::multiply_tiles(x, tiles, scale, bias);
        const at::Tensor expected =
            x.to(at::kFloat).matmul(dequantise(few.q, few.scale, at::kFloat).t()) + bias.to(at::kFloat);
        EXPECT_EQ(got.sizes(), (std::vector<int64_t>{1, tokens, 24}));
        EXPECT_LT(test::relative_error(got, expected), 1.6e-2) << group;
      }
    }
  }
}

// The zeros are laid out once: the operator's view of them is the same memory.
TEST(Cuda, ScalesStandBesideZeros) {
  const Quantised few = quantise(drawn({24, 128}, 1), 4, 32);
  const at::Tensor beside = cuda::with_zeros(few.scale);
  EXPECT_TRUE(beside.equal(few.scale));
  EXPECT_EQ(beside.strides(), (std::vector<int64_t>{2, 48}));
}

TEST(Cuda, TilesRefuseWhatDoesNotFit) {
  const auto can = [](int64_t out, int64_t in, int64_t group) {
    const Quantised few = quantise(drawn({out, in}, 1), 4, group);
    return cuda::can_tile(few.q, few.scale);
  };
  EXPECT_TRUE(can(8, 64, 32));
  EXPECT_FALSE(can(12, 64, 32)) << "rows";
  EXPECT_FALSE(can(8, 48, 16)) << "columns";
  EXPECT_FALSE(can(8, 64, 16)) << "groups";
  const Quantised bytes = quantise(drawn({8, 64}, 1), 8, 32);
  EXPECT_FALSE(cuda::can_tile(bytes.q, bytes.scale)) << "8 bits";

  const Quantised few = quantise(drawn({8, 64}, 1), 4, 32);
  const at::Tensor tiles = cuda::tiles(few.q), x = drawn({2, 64}, 2).to(at::kBFloat16);
  EXPECT_TRUE(cuda::can_multiply_tiles(x, tiles, few.scale, {}));
  EXPECT_FALSE(cuda::can_multiply_tiles(x, few.q, few.scale, {})) << "not in tiles";
  EXPECT_FALSE(cuda::can_multiply_tiles(x.to(at::kHalf), tiles, few.scale, {})) << "half";
  EXPECT_FALSE(cuda::can_multiply_tiles(drawn({17, 64}, 2).to(at::kBFloat16), tiles, few.scale, {})) << "17 tokens";
  EXPECT_FALSE(cuda::can_multiply_tiles(drawn({2, 64}, 2).to(at::kBFloat16).requires_grad_(true), tiles, few.scale, {}))
      << "a gradient";
}

TEST(Cuda, ManyTokensAreMultipliedInBytes) {
  const Quantised few = quantise(drawn({24, 128}, 1), 8, 0);
  const at::Tensor bias = drawn({24}, 3);
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    at::Tensor x = drawn({1, 20, 128}, 2).to(type);
    x.select(1, 4).zero_();  // a token of zeros has no scale
    ASSERT_TRUE(cuda::can_multiply_bytes(x, few.q, few.scale, bias));
    const at::Tensor expected = x.to(at::kFloat).matmul(dequantise(few.q, few.scale, at::kFloat).t());
    EXPECT_LT(test::relative_error(cuda::multiply_bytes(x, few.q, few.scale, bias.to(type)), expected + bias), 2e-2);
    EXPECT_LT(test::relative_error(cuda::multiply_bytes(x, few.q, few.scale, {}), expected), 2e-2);
  }
  // Tokens that are integers already lose nothing.
  at::Tensor whole = drawn({20, 128}, 4).mul(30).round().clamp(-127, 127);
  whole.select(1, 0).fill_(127);
  EXPECT_LT(test::relative_error(cuda::multiply_bytes(whole, few.q, few.scale, {}),
                                 whole.matmul(dequantise(few.q, few.scale, at::kFloat).t())),
            1e-6);
}

TEST(Cuda, BytesRefuseWhatDoesNotFit) {
  const auto can = [](int64_t out, int64_t in, int64_t group, int64_t tokens) {
    const Quantised few = quantise(drawn({out, in}, 1), 8, group);
    return cuda::can_multiply_bytes(drawn({tokens, in}, 2), few.q, few.scale, {});
  };
  EXPECT_TRUE(can(24, 128, 0, 17));
  EXPECT_FALSE(can(24, 128, 0, 16)) << "tokens";
  EXPECT_FALSE(can(20, 128, 0, 17)) << "rows";
  EXPECT_FALSE(can(24, 100, 0, 17)) << "columns";
  EXPECT_FALSE(can(24, 128, 64, 17)) << "scales of groups";
  const Quantised few = quantise(drawn({24, 128}, 1), 8, 0);
  EXPECT_FALSE(cuda::can_multiply_bytes(drawn({17, 128}, 2).requires_grad_(true), few.q, few.scale, {}))
      << "a gradient";
}

}  // namespace
}  // namespace glmimage::kernels
