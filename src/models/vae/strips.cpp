#include "models/vae/strips.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <vector>

#include "kernels/group_norm.h"

namespace glmimage {
namespace {

// Calls work(first, last) for `strips` strips of about equally many of `rows` rows.
template <typename Work>
void for_each_strip(int64_t rows, int64_t strips, const Work& work) {
  for (int64_t i = 0; i < strips; ++i) work(rows * i / strips, rows * (i + 1) / strips);
}

// Strips of x in which `channels` are read and written in all.
int64_t strips_of(const at::Tensor& x, int64_t channels, const StripLimits& limits) {
  const int64_t width = x.size(0) * x.size(3);
  return limits.strips(x.size(2), width, width * channels * x.element_size());
}

// Rows of a picture, some of which may lie above its first or below its last.
struct Rows {
  Rows(const at::Tensor& x, int64_t first, int64_t last)
      : above(std::max<int64_t>(0, -first)),
        below(std::max<int64_t>(0, last - x.size(2))),
        inside(x.narrow(2, first + above, last - first - above - below)) {}

  // `values` of the inside, with zeros for the rows outside and for `right` columns.
  at::Tensor with_zeros(const at::Tensor& values, int64_t right = 0) const {
    return above + below + right > 0 ? at::constant_pad_nd(values, {0, right, above, below}) : values;
  }

  int64_t above, below;
  at::Tensor inside;
};

at::Tensor empty_picture(at::IntArrayRef sizes, const at::Tensor& part, const at::Tensor& like) {
  return at::empty(sizes, part.options().memory_format(like.suggest_memory_format()));
}

// What norm makes of each channel (kernels::group_norm_factors), (2, B, C).
at::Tensor factors_of(const GroupNorm& norm, const at::Tensor& x, Statistics statistics) {
  const bool naive =
      statistics == Statistics::as_aten && x.is_cpu() && x.scalar_type() == at::kFloat && !x.is_contiguous();
  if (!naive) return kernels::group_norm_factors(x, norm.groups, norm.weight, norm.bias, norm.eps);
  const int64_t batch = x.size(0), channels = x.size(1);
  const auto [y, mean, inverse] = at::native_group_norm(x, norm.weight, norm.bias, batch, channels,
                                                        x.size(2) * x.size(3), norm.groups, norm.eps);  // (B, G) each
  const at::Tensor factor = inverse.unsqueeze(-1) * norm.weight.view({1, norm.groups, -1});             // (B, G, C/G)
  const at::Tensor added = norm.bias.view({1, norm.groups, -1}) - mean.unsqueeze(-1) * factor;
  return at::stack({factor.reshape({batch, channels}), added.reshape({batch, channels})});
}

// Calls place(first, part) with rows of conv(silu(norm(x))).
template <typename Place>
void norm_silu_conv_strips(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x, const StripLimits& limits,
                           const Place& place) {
  const at::Tensor factors = factors_of(norm, x, limits.statistics);
  for_each_strip(x.size(2), strips_of(x, conv.in + conv.out, limits), [&](int64_t first, int64_t last) {
    const Rows rows(x, first - 1, last + 1);
    const at::Tensor strip = rows.with_zeros(kernels::scaled_silu(rows.inside, factors));  // (B, in, rows + 2, W)
    place(first, at::conv2d(strip, conv.weight, conv.bias, 1, at::IntArrayRef{0, 1}));
  });
}

// The kernel's values for the pixels (row, column) of the doubled picture that come of one: (out, in, 3, 3) -> (out,
// in, 2, 2). Of three neighbours there, the first two (of the second pixel) or the last two (of the first) are one
// here.
at::Tensor phase_kernel(const at::Tensor& weight, int64_t row, int64_t column) {
  std::vector<float> sums(9 * 4);  // (3·3, 2·2): which value goes where
  const auto place = [](int64_t tap, int64_t phase) { return phase == 0 ? (tap + 1) / 2 : tap / 2; };
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) sums[(3 * i + j) * 4 + 2 * place(i, row) + place(j, column)] = 1;
  }
  const at::Tensor chosen = at::tensor(sums, at::kFloat).view({9, 4}).to(weight.options());
  return at::matmul(weight.reshape({-1, 9}), chosen).view({weight.size(0), weight.size(1), 2, 2});
}

}  // namespace

int64_t StripLimits::strips(int64_t rows, int64_t width, int64_t row_bytes) const {
  const int64_t most = std::max({bytes / row_bytes, (least_pixels + width - 1) / width, least_rows});
  return (rows + most - 1) / most;
}

at::Tensor norm_silu_conv(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x, const StripLimits& limits) {
  at::Tensor y;
  norm_silu_conv_strips(norm, conv, x, limits, [&](int64_t first, const at::Tensor& part) {
    if (!y.defined() && part.size(2) < x.size(2))
      y = empty_picture({x.size(0), conv.out, x.size(2), x.size(3)}, part, x);
    if (y.defined()) {
      y.narrow(2, first, part.size(2)).copy_(part);
    } else {
      y = part;
    }
  });
  return y;
}

void add_norm_silu_conv(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x, at::Tensor& sum,
                        const StripLimits& limits) {
  norm_silu_conv_strips(norm, conv, x, limits,
                        [&](int64_t first, const at::Tensor& part) { sum.narrow(2, first, part.size(2)).add_(part); });
}

at::Tensor halving_conv(const Conv2d& conv, const at::Tensor& x, const StripLimits& limits) {
  const int64_t height = x.size(2) / 2, width = x.size(3) / 2;
  at::Tensor y;
  const int64_t row = x.size(0) * width, row_bytes = row * (4 * conv.in + conv.out) * x.element_size();
  for_each_strip(height, limits.strips(height, row, row_bytes), [&](int64_t first, int64_t last) {
    const Rows rows(x, 2 * first, 2 * last + 1);
    const at::Tensor part = at::conv2d(rows.with_zeros(rows.inside, 1), conv.weight, conv.bias, {2, 2});
    if (!y.defined()) y = empty_picture({x.size(0), conv.out, height, width}, part, x);
    y.narrow(2, first, last - first).copy_(part);
  });
  return y;
}

at::Tensor doubling_conv(const Conv2d& conv, const at::Tensor& x, const StripLimits& limits) {
  const int64_t height = x.size(2), width = x.size(3);
  at::Tensor y;
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 2; ++column) {
      const at::Tensor kernel = phase_kernel(conv.weight, row, column);
      for_each_strip(height, strips_of(x, conv.in + conv.out, limits), [&](int64_t first, int64_t last) {
        const Rows rows(x, first - 1 + row, last + row);
        const at::Tensor part = at::conv2d(rows.with_zeros(rows.inside), kernel, conv.bias, 1, at::IntArrayRef{0, 1});
        if (!y.defined()) y = empty_picture({x.size(0), conv.out, 2 * height, 2 * width}, part, x);
        y.slice(2, 2 * first + row, 2 * last, 2).slice(3, column, 2 * width, 2).copy_(part.narrow(3, column, width));
      });
    }
  }
  return y;
}

void skip_and_add(const Conv2d& skip, at::Tensor& x, const GroupNorm& norm, const Conv2d& conv, at::Tensor h,
                  const StripLimits& limits) {
  const bool fits = x.size(0) == 1 && skip.out < skip.in && x.is_contiguous(at::MemoryFormat::ChannelsLast);
  if (!fits) {
    x = skip(x);
    return add_norm_silu_conv(norm, conv, h, x, limits);
  }
  // A pixel takes less room than before: what is written lies where x has been read already.
  const int64_t height = x.size(2), width = x.size(3);
  at::Tensor sum =
      x.as_strided({1, skip.out, height, width}, {height * width * skip.out, 1, width * skip.out, skip.out});
  for_each_strip(height, strips_of(x, skip.in + skip.out, limits), [&](int64_t first, int64_t last) {
    sum.narrow(2, first, last - first).copy_(skip(x.narrow(2, first, last - first)));
  });
  add_norm_silu_conv(norm, conv, h, sum, limits);
  h = at::Tensor();
  x = sum.clone();  // gives x's memory back
}

}  // namespace glmimage
