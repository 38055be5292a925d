#include "kernels/cpu/group_norm.h"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>

#include <cmath>
#include <vector>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

// Every loop is written once, for values of type T, and compiled twice: float32, and bfloat16 as its 16 bits.
namespace glmimage::kernels::cpu {
namespace {

// Sums and sums of squares.
struct Sums {
  double *values, *squares;
};

// Adds `pixels` times `channels` values to the sums of their channels.
template <typename T>
[[gnu::always_inline]] inline void add_pixels(const T* x, int64_t pixels, int64_t channels, const Sums& sums) {
  double *values = sums.values, *squares = sums.squares;
  for (int64_t p = 0; p < pixels; ++p, x += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const double v = widened(x[c]);
      values[c] += v;
      squares[c] += v * v;
    }
  }
}
GLM_IMAGE_CLONES void add(const float* x, int64_t pixels, int64_t channels, const Sums& sums) {
  add_pixels(x, pixels, channels, sums);
}
GLM_IMAGE_CLONES void add(const uint16_t* x, int64_t pixels, int64_t channels, const Sums& sums) {
  add_pixels(x, pixels, channels, sums);
}

// Adds values of one channel.
template <typename T>
[[gnu::always_inline]] inline void add_values(const T* x, int64_t count, const Sums& sums) {
  double values = 0, squares = 0;
#pragma omp simd reduction(+ : values, squares)
  for (int64_t i = 0; i < count; ++i) {
    const double v = widened(x[i]);
    values += v;
    squares += v * v;
  }
  *sums.values += values;
  *sums.squares += squares;
}
GLM_IMAGE_CLONES void add(const float* x, int64_t count, const Sums& sums) { add_values(x, count, sums); }
GLM_IMAGE_CLONES void add(const uint16_t* x, int64_t count, const Sums& sums) { add_values(x, count, sums); }

[[gnu::always_inline]] inline float silu(float x) { return x / (1 + exponential_for_sigmoid(-x)); }

// Factors of each channel, pixel by pixel.
template <typename T>
[[gnu::always_inline]] inline void scale_pixels(const T* x, int64_t pixels, int64_t channels, const float* factor,
                                                const float* added, T* y) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) store(silu(widened(x[c]) * factor[c] + added[c]), y + c);
  }
}
GLM_IMAGE_CLONES void scale(const float* x, int64_t pixels, int64_t channels, const float* factor, const float* added,
                            float* y) {
  scale_pixels(x, pixels, channels, factor, added, y);
}
GLM_IMAGE_CLONES void scale(const uint16_t* x, int64_t pixels, int64_t channels, const float* factor,
                            const float* added, uint16_t* y) {
  scale_pixels(x, pixels, channels, factor, added, y);
}

// Factors of one channel.
template <typename T>
[[gnu::always_inline]] inline void scale_values(const T* x, int64_t count, float factor, float added, T* y) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) store(silu(widened(x[i]) * factor + added), y + i);
}
GLM_IMAGE_CLONES void scale(const float* x, int64_t count, float factor, float added, float* y) {
  scale_values(x, count, factor, added, y);
}
GLM_IMAGE_CLONES void scale(const uint16_t* x, int64_t count, float factor, float added, uint16_t* y) {
  scale_values(x, count, factor, added, y);
}

bool pixel_by_pixel(const at::Tensor& x) { return x.stride(1) == 1 && x.stride(3) == x.size(1); }

bool has_rows(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.dim() == 4 &&
         (pixel_by_pixel(x) || x.stride(3) == 1);
}

// Where the rows of x begin.
template <typename T>
struct Rows {
  explicit Rows(const at::Tensor& x)
      : values(static_cast<const T*>(x.const_data_ptr())),
        batch_step(x.stride(0)),
        channel_step(x.stride(1)),
        row_step(x.stride(2)) {}
  const T* operator()(int64_t b, int64_t c, int64_t h) const {
    return values + b * batch_step + c * channel_step + h * row_step;
  }
  const T* values;
  int64_t batch_step, channel_step, row_step;
};

// Sums (2, B, C) and the same of squares behind them: of each channel of each picture.
template <typename T>
std::vector<double> channel_sums(const at::Tensor& x) {
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3), all = batch * channels;
  const Rows<T> rows(x);
  if (!pixel_by_pixel(x)) {
    std::vector<double> sums(2 * all);
    parallel_rows(all, height * width, [&](int64_t i, int64_t last) {
      for (; i < last; ++i) {
        for (int64_t h = 0; h < height; ++h)
          add(rows(i / channels, i % channels, h), width, {&sums[i], &sums[all + i]});
      }
    });
    return sums;
  }
  const int64_t pieces = std::min(height, pieces_of(height, width * channels));  // of a picture
  std::vector<double> partial(2 * all * pieces);
  at::parallel_for(0, batch * pieces, 1, [&](int64_t i, int64_t last) {
    for (; i < last; ++i) {
      const int64_t b = i % batch, piece = i / batch;
      double* sums = &partial[2 * all * piece + b * channels];
      for (int64_t h = height * piece / pieces; h < height * (piece + 1) / pieces; ++h)
        add(rows(b, 0, h), width, channels, {sums, sums + all});
    }
  });
  for (int64_t i = 2 * all; i < 2 * all * pieces; ++i) partial[i % (2 * all)] += partial[i];
  partial.resize(2 * all);
  return partial;
}

template <typename T>
void scale_rows(const at::Tensor& x, const float* factors, at::Tensor& y) {
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3), all = batch * channels;
  const Rows<T> from(x);
  T* to = static_cast<T*>(y.mutable_data_ptr());
  if (pixel_by_pixel(x)) {
    parallel_rows(batch * height, width * channels, [&](int64_t i, int64_t last) {
      for (; i < last; ++i) {
        const float* factor = factors + i / height * channels;
        scale(from(i / height, 0, i % height), width, channels, factor, factor + all, to + i * width * channels);
      }
    });
    return;
  }
  parallel_rows(all * height, width, [&](int64_t i, int64_t last) {
    for (; i < last; ++i) {
      const int64_t channel = i / height;  // of all pictures
      scale(from(channel / channels, channel % channels, i % height), width, factors[channel], factors[all + channel],
            to + i * width);
    }
  });
}

}  // namespace

bool can_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias) {
  const auto one_each = [&](const at::Tensor& t) {
    return t.device().is_cpu() && at::isFloatingType(t.scalar_type()) && t.dim() == 1 && t.size(0) == x.size(1);
  };
  return has_rows(x) && x.numel() > 0 && groups > 0 && x.size(1) % groups == 0 && one_each(weight) && one_each(bias);
}

bool can_scale(const at::Tensor& x, const at::Tensor& factors) {
  return has_rows(x) && factors.device().is_cpu() && factors.scalar_type() == at::kFloat && factors.dim() == 3 &&
         factors.size(0) == 2 && factors.size(1) == x.size(0) && factors.size(2) == x.size(1);
}

at::Tensor group_norm_factors(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                              double eps) {
  const int64_t batch = x.size(0), channels = x.size(1), all = batch * channels, size = channels / groups;
  const std::vector<double> sums =
      x.scalar_type() == at::kFloat ? channel_sums<float>(x) : channel_sums<uint16_t>(x);  // (2, B, C)
  const at::Tensor weights = weight.to(at::kFloat).contiguous(), biases = bias.to(at::kFloat).contiguous();
  const float *w = weights.const_data_ptr<float>(), *b = biases.const_data_ptr<float>();
  at::Tensor factors = at::empty({2, batch, channels}, x.options().dtype(at::kFloat));
  float* out = factors.mutable_data_ptr<float>();
  const auto count = static_cast<double>(size * x.size(2) * x.size(3));
  for (int64_t first = 0; first < all; first += size) {  // a group of a picture
    double total = 0, squares = 0;
    for (int64_t i = first; i < first + size; ++i) total += sums[i], squares += sums[all + i];
    const double mean = total / count, variance = squares / count - mean * mean;
    const double scale = 1 / std::sqrt((variance < 0 ? 0 : variance) + eps);  // a NaN stays one
    for (int64_t i = first; i < first + size; ++i) {
      const int64_t c = i % channels;
      out[i] = static_cast<float>(w[c] * scale);
      out[all + i] = static_cast<float>(b[c] - mean * scale * w[c]);
    }
  }
  return factors;
}

at::Tensor scaled_silu(const at::Tensor& x, const at::Tensor& factors) {
  const auto layout = pixel_by_pixel(x) ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  at::Tensor y = at::empty(x.sizes(), x.options().memory_format(layout));
  const at::Tensor dense = factors.contiguous();
  if (x.scalar_type() == at::kFloat) {
    scale_rows<float>(x, dense.const_data_ptr<float>(), y);
  } else {
    scale_rows<uint16_t>(x, dense.const_data_ptr<float>(), y);
  }
  return y;
}

}  // namespace glmimage::kernels::cpu
