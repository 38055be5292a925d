#include "core/resize.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace glmimage {
namespace {

constexpr int kFractionBits = 22;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

// Which inputs make one output, and with what weights.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;  // times 2^22
};

std::vector<Taps> filter_taps(int64_t in, int64_t out, Filter filter) {
  const double ratio = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(ratio, 1.0), shrink = 1.0 / stretch;
  const double support = (filter == Filter::bicubic ? 2.0 : 3.0) * stretch;
  std::vector<Taps> all(static_cast<size_t>(out));
  std::vector<double> weights;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * ratio;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t last = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), in);
    weights.clear();
    double sum = 0;
    for (int64_t x = 0; x < last - first; ++x) {
      const double t = (static_cast<double>(x + first) - centre + 0.5) * shrink;
      weights.push_back(filter == Filter::bicubic ? bicubic(t) : lanczos(t));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<size_t>(i)];
    taps.first = first;
    for (double weight : weights) {
      if (sum != 0) weight /= sum;
      // half away from zero
      taps.weights.push_back(static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kFractionBits)));
    }
  }
  return all;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

Image resize_rows(const Image& in, int64_t width, Filter filter) {
  if (width == in.width) return in;
  const std::vector<Taps> columns = filter_taps(in.width, width, filter);
  Image out{width, in.height, std::vector<uint8_t>(static_cast<size_t>(3 * width * in.height))};
  uint8_t* target = out.pixels.data();
  for (int64_t y = 0; y < in.height; ++y) {
    const uint8_t* row = in.pixels.data() + 3 * y * in.width;
    for (const Taps& taps : columns) {
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      const uint8_t* pixel = row + 3 * taps.first;
      for (int32_t weight : taps.weights) {
        red += pixel[0] * weight;
        green += pixel[1] * weight;
        blue += pixel[2] * weight;
        pixel += 3;
      }
      *target++ = to_byte(red);
      *target++ = to_byte(green);
      *target++ = to_byte(blue);
    }
  }
  return out;
}

// N neighbouring bytes of one output row. N is fixed so that the compiler unrolls it into vector registers.
template <int N>
void mix_columns(const uint8_t* in, int64_t stride, const std::vector<int32_t>& weights, uint8_t* out) {
  int32_t sums[N];
  std::fill_n(sums, N, kHalf);
  for (int32_t weight : weights) {
    for (int i = 0; i < N; ++i) sums[i] += in[i] * weight;
    in += stride;
  }
  for (int i = 0; i < N; ++i) out[i] = to_byte(sums[i]);
}

Image resize_columns(const Image& in, int64_t height, Filter filter) {
  if (height == in.height) return in;
  constexpr int kBlock = 32;
  const int64_t stride = 3 * in.width;
  Image out{in.width, height, std::vector<uint8_t>(static_cast<size_t>(stride * height))};
  uint8_t* target = out.pixels.data();
  for (const Taps& taps : filter_taps(in.height, height, filter)) {
    const uint8_t* top = in.pixels.data() + taps.first * stride;
    int64_t x = 0;
    for (; x + kBlock <= stride; x += kBlock) mix_columns<kBlock>(top + x, stride, taps.weights, target + x);
    for (; x < stride; ++x) mix_columns<1>(top + x, stride, taps.weights, target + x);
    target += stride;
  }
  return out;
}

// Pillow's rule since 13.0, found by comparing 6,000 sizes; before it always began with the rows. The order is seen in
// the last bits, as the picture in between is rounded to 8 bits.
bool columns_first(const Image& in, int64_t width, int64_t height) {
  return height < in.height && in.height - height > 2 * (in.width - width);
}

}  // namespace

Image resize(const Image& image, int64_t width, int64_t height, Filter filter) {
  if (width <= 0 || height <= 0 || image.width <= 0 || image.height <= 0) {
    fail(ErrorKind::internal, "cannot resize ", image.width, " x ", image.height, " px to ", width, " x ", height,
         " px");
  }
  if (columns_first(image, width, height)) {
    const Image columns = resize_columns(image, height, filter);
    return resize_rows(columns, width, filter);
  }
  const Image rows = resize_rows(image, width, filter);
  return resize_columns(rows, height, filter);
}

}  // namespace glmimage
