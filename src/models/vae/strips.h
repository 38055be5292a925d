#pragma once

#include <ATen/core/Tensor.h>

#include "models/layers/layers.h"

namespace glmimage {

// The VAE's 3x3 convolutions for drawing, by strips of rows: besides what they are given and what they return they hold
// about a strip and a copy of the kernel, however large the picture is. A strip reads one row more on either side,
// and norms take their statistics from the whole picture first, so the values are those of the whole picture: no seams.
// All take (B, in, H, W) on any device, channels_last or contiguous, and return that layout. Not for training: under
// autograd they would keep more than the plain operators do.

// Of what a norm takes its statistics. as_aten: in float32 and channels_last on a CPU of ATen's group_norm, which sums
// naively there (relative errors of 1e-3 at 512 pixels a side). Pictures to edit reach the reference's encoder in that
// layout, and results are held to the reference. Costs a normed copy of the picture for a moment.
enum class Statistics { exact, as_aten };

// How high a strip is: as many rows as fit `bytes` of what it reads and writes, but enough for the arithmetic to
// outweigh the kernel, which a convolution lays out anew each time, and the rows that two strips share.
struct StripLimits {
  int64_t bytes = int64_t{16} << 20;
  int64_t least_pixels = 4096, least_rows = 4;
  Statistics statistics = Statistics::exact;

  // The number of strips that `rows` rows of `width` pixels, `row_bytes` bytes, are cut into, about equally.
  int64_t strips(int64_t rows, int64_t width, int64_t row_bytes) const;
};

// conv(silu(norm(x))) -> (B, out, H, W)
at::Tensor norm_silu_conv(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x,
                          const StripLimits& limits = {});

// sum (B, out, H, W) += conv(silu(norm(x)))
void add_norm_silu_conv(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x, at::Tensor& sum,
                        const StripLimits& limits = {});

// conv of x with a row and a column of zeros behind it, stride 2, no padding -> (B, out, H/2, W/2)
at::Tensor halving_conv(const Conv2d& conv, const at::Tensor& x, const StripLimits& limits = {});

// conv of x with every pixel repeated 2 x 2 -> (B, out, 2H, 2W). Each of the four pixels that come of one sees 2 x 2
// pixels of x, so it is four 2x2 convolutions of x with sums of the kernel's values, 4/9 of the arithmetic.
at::Tensor doubling_conv(const Conv2d& conv, const at::Tensor& x, const StripLimits& limits = {});

// x becomes skip(x), a 1x1 convolution, and then x += conv(silu(norm(h))). The values of a skip that narrows x are kept
// in the memory of x until h is gone: h and x's memory are all that is held.
void skip_and_add(const Conv2d& skip, at::Tensor& x, const GroupNorm& norm, const Conv2d& conv, at::Tensor h,
                  const StripLimits& limits = {});

}  // namespace glmimage
