#include "eval/recogniser.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/ones.h>

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
  const at::Tensor products = at::conv2d(difference, templates)[0];
  const at::Tensor squares = (difference * difference).sum(1, true);
  const at::Tensor energy = at::conv2d(squares, at::ones({1, 1, window, window}))[0];  // (1, h', w')
  const at::Tensor own = (templates * templates).sum({1, 2, 3}).view({-1, 1, 1});
  return 2 * products / (energy + own + kTiny);
}

at::Tensor with_rim(const at::Tensor& difference, int64_t rim) {
  return at::constant_pad_nd(difference, {rim, rim, rim, rim}, 0);
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
  const int64_t row = set.row_of(class_id);
  const at::Tensor wanted = set.on(view.background_rgb).narrow(0, row, 1);
  // Windows are padded by half their side, so that window (y, x) has its middle at that corner of a pixel.
  at::Tensor map = agreements(with_rim(view.difference, set.window / 2), wanted)[0].clone();  // (65, 65)
  const int64_t side = map.size(0);
  const int64_t apart = std::max<int64_t>(1, object_size * kWorkingSide / world_.size() / 2);
  std::vector<Place> out;
  while (out.size() < count) {
    const int64_t best = map.argmax().item<int64_t>(), y = best / side, x = best % side;
    out.push_back(
        {static_cast<double>(x) / kWorkingSide, static_cast<double>(y) / kWorkingSide, map[y][x].item<double>()});
    const int64_t top = std::max<int64_t>(0, y - apart), left = std::max<int64_t>(0, x - apart);
    map.slice(0, top, std::min(side, y + apart + 1)).slice(1, left, std::min(side, x + apart + 1)).fill_(-2);
  }
  return out;
}

Naming Recogniser::name(const View& view, const Place& place, int64_t object_size) {
  const Templates& set = templates(object_size);
  const int64_t rim = set.window / 2 + kShift;
  const auto corner = [](double share) { return std::llround(share * kWorkingSide); };
  const at::Tensor around = with_rim(view.difference, rim)
                                .narrow(2, corner(place.y), set.window + 2 * kShift)
                                .narrow(3, corner(place.x), set.window + 2 * kShift);
  const at::Tensor best = agreements(around, set.on(view.background_rgb)).amax({1, 2});  // (K)
  const int64_t row = best.argmax().item<int64_t>();
  const double agreement = best[row].item<double>();
  return {agreement < kSeen ? 0 : set.class_ids[static_cast<size_t>(row)], agreement};
}

}  // namespace glmimage::eval
