#include "train/world/sprites.h"

#include <algorithm>
#include <cmath>

namespace glmimage::train::world {
namespace {

struct Point {
  double x, y;
};

// One output pixel's share of the input along an axis.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

double catmull_rom(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

std::vector<Taps> make_taps(int64_t from, int64_t to) {
  const double step = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(step, 1.0);
  std::vector<Taps> taps(to);
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * step;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - 2 * stretch)));
    const auto last = std::min(from, static_cast<int64_t>(std::ceil(centre + 2 * stretch)));
    taps[i].first = first;
    double sum = 0;
    for (int64_t j = first; j < last; ++j) {
      const double weight = catmull_rom((static_cast<double>(j) + 0.5 - centre) / stretch);
      taps[i].weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    for (float& weight : taps[i].weights) weight = static_cast<float>(weight / sum);
  }
  return taps;
}

bool inside(const std::vector<Point>& corners, double x, double y) {
  bool in = false;
  for (size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
    const Point a = corners[i], b = corners[j];
    if ((a.y > y) != (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) in = !in;
  }
  return in;
}

constexpr double kPi = 3.14159265358979323846;

std::vector<Point> star() {
  std::vector<Point> corners;
  for (int i = 0; i < 10; ++i) {
    const double radius = i % 2 == 0 ? 0.52 : 0.215;
    const double angle = kPi * (i / 5.0 - 0.5);
    corners.push_back({0.5 + radius * std::cos(angle), 0.53 + radius * std::sin(angle)});
  }
  return corners;
}

// The well-known curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t.
std::vector<Point> heart() {
  constexpr int kCorners = 96;
  std::vector<Point> corners;
  for (int i = 0; i < kCorners; ++i) {
    const double t = 2 * kPi * i / kCorners, x = 16 * std::pow(std::sin(t), 3);
    const double y = 13 * std::cos(t) - 5 * std::cos(2 * t) - 2 * std::cos(3 * t) - std::cos(4 * t);
    corners.push_back({0.5 + x / 33, 0.46 - y / 33});
  }
  return corners;
}

// Corners in a box from 0 to 1; empty for what is round. Widths are chosen so that all shapes look equally large.
std::vector<Point> corners_of(ShapeForm form) {
  switch (form) {
    case ShapeForm::circle:
    case ShapeForm::ring: break;
    case ShapeForm::square: return {{0.07, 0.07}, {0.93, 0.07}, {0.93, 0.93}, {0.07, 0.93}};
    case ShapeForm::triangle: return {{0.5, 0.06}, {1.0, 0.94}, {0.0, 0.94}};
    case ShapeForm::diamond: return {{0.5, 0.0}, {0.95, 0.5}, {0.5, 1.0}, {0.05, 0.5}};
    case ShapeForm::cross:
      return {{0.35, 0.06}, {0.65, 0.06}, {0.65, 0.35}, {0.94, 0.35}, {0.94, 0.65}, {0.65, 0.65},
              {0.65, 0.94}, {0.35, 0.94}, {0.35, 0.65}, {0.06, 0.65}, {0.06, 0.35}, {0.35, 0.35}};
    case ShapeForm::star: return star();
    case ShapeForm::heart: return heart();
  }
  return {};
}

bool inside(ShapeForm form, const std::vector<Point>& corners, double x, double y) {
  const double radius = std::hypot(x - 0.5, y - 0.5);
  if (form == ShapeForm::circle) return radius <= 0.48;
  if (form == ShapeForm::ring) return radius <= 0.48 && radius >= 0.27;
  return inside(corners, x, y);
}

}  // namespace

int64_t scaled(int64_t base, int64_t picture) { return (base * picture + kBaseSize / 2) / kBaseSize; }

Sprite resize(const Sprite& sprite, int64_t width, int64_t height) {
  const std::vector<Taps> across = make_taps(sprite.width, width);
  const std::vector<Taps> down = make_taps(sprite.height, height);
  std::vector<float> rows(sprite.height * width * 4);  // (sprite.height, width, 4)
  for (int64_t y = 0; y < sprite.height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const uint8_t* from = &sprite.rgba[(y * sprite.width + across[x].first) * 4];
      float* to = &rows[(y * width + x) * 4];
      for (const float weight : across[x].weights) {
        for (int c = 0; c < 4; ++c) to[c] += weight * static_cast<float>(from[c]);
        from += 4;
      }
    }
  }
  Sprite result{width, height, std::vector<uint8_t>(width * height * 4)};
  std::vector<float> line(width * 4);  // (width, 4)
  for (int64_t y = 0; y < height; ++y) {
    std::fill(line.begin(), line.end(), 0.F);
    const float* from = &rows[down[y].first * width * 4];
    for (const float weight : down[y].weights) {
      for (int64_t i = 0; i < width * 4; ++i) line[i] += weight * from[i];
      from += width * 4;
    }
    uint8_t* to = &result.rgba[y * width * 4];
    for (int64_t x = 0; x < width; ++x) {
      const float alpha = std::clamp(std::round(line[x * 4 + 3]), 0.F, 255.F);
      // Overshoot must not leave a colour brighter than its own alpha allows.
      for (int c = 0; c < 3; ++c) {
        to[x * 4 + c] = static_cast<uint8_t>(std::clamp(std::round(line[x * 4 + c]), 0.F, alpha));
      }
      to[x * 4 + 3] = static_cast<uint8_t>(alpha);
    }
  }
  return result;
}

Mask draw_shape(ShapeForm form, int64_t size) {
  constexpr int kSamples = 4;
  const std::vector<Point> corners = corners_of(form);
  Mask mask{size, size, std::vector<uint8_t>(size * size)};
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      int hits = 0;
      for (int s = 0; s < kSamples * kSamples; ++s) {
        const double u = (static_cast<double>(x) + (s % kSamples + 0.5) / kSamples) / static_cast<double>(size);
        const double v = (static_cast<double>(y) + (s / kSamples + 0.5) / kSamples) / static_cast<double>(size);
        hits += inside(form, corners, u, v) ? 1 : 0;
      }
      mask.coverage[y * size + x] = static_cast<uint8_t>((hits * 255 + 8) / (kSamples * kSamples));
    }
  }
  return mask;
}

}  // namespace glmimage::train::world
