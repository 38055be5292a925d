#include "eval/recogniser.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "train/world/world_tables.h"

namespace glmimage::eval {
namespace {

using world::Scene;

constexpr int64_t kCells = 8;  // a side

// Which pixels of a picture of the world's size should show bare background: cells without a thing in them, else the
// outermost thirty-second.
std::vector<uint8_t> bare_pixels(const world::World& world, const Scene& scene) {
  const int64_t size = world.size();
  std::vector<uint8_t> bare(static_cast<size_t>(size * size));
  int64_t count = 0;
  if (size % kCells == 0) {
    const std::vector<int64_t> labels = world.cell_labels(scene, kCells);
    for (int64_t i = 0; i < size * size; ++i) {
      const int64_t row = i / size * kCells / size, column = i % size * kCells / size;
      count += bare[static_cast<size_t>(i)] = labels[static_cast<size_t>(row * kCells + column)] == 0;
    }
  }
  const int64_t rim = std::max<int64_t>(1, size / 32);
  for (int64_t i = 0; count == 0 && i < size * size; ++i) {
    const int64_t row = i / size, column = i % size;
    bare[static_cast<size_t>(i)] = std::min({row, column, size - 1 - row, size - 1 - column}) < rim;
  }
  return bare;
}

// Median of each channel over the marked pixels; `mask` has a picture of its own size. 0..255.
std::array<uint8_t, 3> median_colour(const Image& image, const std::vector<uint8_t>& mask, int64_t mask_side) {
  std::array<std::array<int64_t, 256>, 3> histogram = {};
  int64_t count = 0;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      const int64_t at = y * mask_side / image.height * mask_side + x * mask_side / image.width;
      if (!mask[static_cast<size_t>(at)]) continue;
      ++count;
      for (size_t c = 0; c < 3; ++c) ++histogram[c][image.pixels[static_cast<size_t>(y * image.width + x) * 3 + c]];
    }
  }
  std::array<uint8_t, 3> median = {};
  for (size_t c = 0; c < 3; ++c) {
    int64_t below = 0;
    for (size_t value = 0; value < 256 && 2 * below <= count; ++value) {
      below += histogram[c][value];
      median[c] = static_cast<uint8_t>(value);
    }
  }
  return median;
}

int64_t nearest_background(const std::array<uint8_t, 3>& rgb) {
  int64_t best = 0;
  double nearest = 1e9;
  for (int64_t i = 0; i < world::background_count(); ++i) {
    double square = 0;
    const auto& colour = world::colour_table().at(static_cast<size_t>(i)).rgb;
    for (size_t c = 0; c < 3; ++c) square += std::pow(static_cast<double>(colour[c]) - rgb[c], 2);
    if (square < nearest) nearest = square, best = i;
  }
  return best;
}

// Of every window of `difference` (1, 3, h, w) with every template (K, 3, P, P) -> (K, h - P + 1, w - P + 1).
at::Tensor agreements(const at::Tensor& difference, const at::Tensor& templates) {
  constexpr double kTiny = 1e-3;  // a bare window and an object that cannot be seen agree in nothing
  const int64_t window = templates.size(2);
  const auto sums = [](const at::Tensor& of, int64_t height, int64_t width) {
    return at::avg_pool2d(of, {height, width}, {1, 1}, {0, 0}, false, true, 1);
  };
  const at::Tensor products = at::conv2d(difference, templates)[0];
  const at::Tensor squares = (difference * difference).sum(1, true);
  const at::Tensor energy = sums(sums(squares, window, 1), 1, window)[0];  // (1, h', w')
  const at::Tensor own = (templates * templates).sum({1, 2, 3}).view({-1, 1, 1});
  return 2 * products / (energy + own + kTiny);
}

at::Tensor with_rim(const at::Tensor& difference, int64_t rim) {
  return at::constant_pad_nd(difference, {rim, rim, rim, rim}, 0);
}

at::Tensor halved(const at::Tensor& pictures) { return at::avg_pool2d(pictures, {2, 2}); }

// The windows whose middles are up to kShift pixels from a corner of a pixel, in one piece.
at::Tensor surroundings(const View& view, int64_t y, int64_t x, int64_t window) {
  const int64_t side = window + 2 * Recogniser::kShift;
  return with_rim(view.difference, side / 2).narrow(2, y, side).narrow(3, x, side);
}

}  // namespace

const Templates& Recogniser::templates(int64_t object_size) {
  auto found = templates_.find(object_size);
  if (found == templates_.end()) {
    found = templates_.emplace(object_size, Templates::make(world_, object_size)).first;
  }
  return found->second;
}

View Recogniser::look(const Image& image, const Scene& scene) const {
  const std::array<uint8_t, 3> rgb = median_colour(image, bare_pixels(world_, scene), world_.size());
  View view;
  view.background = nearest_background(rgb);
  Image pixel;
  pixel.width = pixel.height = 1;
  pixel.pixels.assign(rgb.begin(), rgb.end());
  view.background_rgb = to_tensor(pixel).to(at::kFloat).view({3}) / 255;
  view.difference = working_picture(image) - view.background_rgb.view({1, 3, 1, 1});
  return view;
}

std::vector<Place> Recogniser::find(const View& view, int64_t class_id, int64_t object_size, size_t count) {
  const Templates& set = templates(object_size);
  const at::Tensor wanted = set.on(view.background_rgb).narrow(0, set.row_of(class_id), 1);
  // Everywhere at half the resolution. With a rim of half a window, window (y, x) has its middle at that corner of a
  // pixel: (33, 33).
  at::Tensor map = agreements(with_rim(halved(view.difference), set.window / 4), halved(wanted))[0].clone();
  const int64_t side = map.size(0);
  // Nearer places share so much of an object that its flank would count as a second one.
  const int64_t apart = std::max<int64_t>(1, object_size * kWorkingSide * 3 / world_.size() / 8);
  std::vector<Place> out;
  while (out.size() < count) {
    const int64_t best = map.argmax().item<int64_t>(), y = best / side, x = best % side;
    // Then to the pixel.
    const at::Tensor near = agreements(surroundings(view, 2 * y, 2 * x, set.window), wanted)[0];
    const int64_t spot = near.argmax().item<int64_t>(), span = near.size(0);
    out.push_back({static_cast<double>(2 * x - kShift + spot % span) / kWorkingSide,
                   static_cast<double>(2 * y - kShift + spot / span) / kWorkingSide, near.max().item<double>()});
    const int64_t top = std::max<int64_t>(0, y - apart), left = std::max<int64_t>(0, x - apart);
    map.slice(0, top, std::min(side, y + apart + 1)).slice(1, left, std::min(side, x + apart + 1)).fill_(-2);
  }
  return out;
}

Naming Recogniser::name(const View& view, const Place& place, int64_t object_size) {
  const Templates& set = templates(object_size);
  const auto corner = [](double share) {
    return std::clamp<int64_t>(std::llround(share * kWorkingSide), 0, kWorkingSide);
  };
  const at::Tensor around = surroundings(view, corner(place.y), corner(place.x), set.window);
  const at::Tensor best = agreements(around, set.on(view.background_rgb)).amax({1, 2});  // (K)
  const int64_t row = best.argmax().item<int64_t>();
  const double agreement = best[row].item<double>();
  return {agreement < kSeen ? 0 : set.class_ids[static_cast<size_t>(row)], agreement};
}

}  // namespace glmimage::eval
