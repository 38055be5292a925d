#include "eval/templates.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "core/error.h"
#include "train/world/world_tables.h"

namespace glmimage::eval {
namespace {

using world::Scene;
using world::World;

at::Tensor rgb_of(int64_t colour) {
  const auto& rgb = world::colour_table().at(static_cast<size_t>(colour)).rgb;
  Image pixel;
  pixel.width = pixel.height = 1;
  pixel.pixels.assign(rgb.begin(), rgb.end());
  return to_tensor(pixel).to(at::kFloat).view({3}) / 255;
}

// The two backgrounds that differ most: an object's alpha is read off between them.
std::pair<int64_t, int64_t> far_backgrounds() {
  std::pair<int64_t, int64_t> best{0, 0};
  double farthest = -1;
  for (int64_t a = 0; a < world::background_count(); ++a) {
    for (int64_t b = 0; b < a; ++b) {
      const double distance = (rgb_of(a) - rgb_of(b)).abs().min().item<double>();
      if (distance > farthest) farthest = distance, best = {a, b};
    }
  }
  return best;
}

// The object alone in the middle of a picture, (1, 3, 64, 64).
at::Tensor paint(const World& world, int64_t class_id, int64_t background, int64_t object_size) {
  Scene scene = world.with_object(class_id, background);
  scene.objects.resize(1);
  scene.objects[0].centre_x = scene.objects[0].centre_y = world.size() / 2;
  scene.objects[0].size = object_size;
  return working_picture(world.render(scene));
}

// The side of the smallest window around the middle outside of which all of `alpha` (K, 1, 64, 64) is bare: a multiple
// of four, so that it can be halved and still has a middle.
int64_t window_of(const at::Tensor& alpha) {
  constexpr double kBare = 0.04;
  const at::Tensor most = alpha.amax({0, 1});  // (64, 64)
  for (int64_t half = kWorkingSide / 2; half > 4; --half) {
    const int64_t first = kWorkingSide / 2 - half, last = kWorkingSide / 2 + half - 1;
    double edge = 0;
    for (const int64_t line : {first, last}) {
      edge = std::max({edge, most[line].max().item<double>(), most.select(1, line).max().item<double>()});
    }
    if (edge > kBare) return (2 * half + 3) / 4 * 4;
  }
  return 8;
}

at::Tensor middle(const at::Tensor& pictures, int64_t window) {
  const int64_t first = (kWorkingSide - window) / 2;
  return pictures.narrow(2, first, window).narrow(3, first, window).contiguous();
}

}  // namespace

at::Tensor working_picture(const Image& image) {
  const at::Tensor pixels = to_tensor(image).permute({2, 0, 1}).unsqueeze(0).to(at::kFloat) / 255;  // (1, 3, H, W)
  return at::adaptive_avg_pool2d(pixels, {kWorkingSide, kWorkingSide});
}

Templates Templates::make(const World& world, int64_t object_size) {
  const auto [light, dark] = far_backgrounds();
  const at::Tensor span = (rgb_of(light) - rgb_of(dark)).view({1, 3, 1, 1});
  Templates out;
  std::vector<at::Tensor> colours, alphas;
  for (int64_t id = 1; id < world::class_count(); ++id) {
    if (id == world::text_class()) continue;
    const at::Tensor on_light = paint(world, id, light, object_size), on_dark = paint(world, id, dark, object_size);
    const at::Tensor alpha = (1 - (on_light - on_dark) / span).mean(1, true).clamp(0, 1);  // (1, 1, 64, 64)
    alphas.push_back(alpha);
    colours.push_back(on_dark - (1 - alpha) * rgb_of(dark).view({1, 3, 1, 1}));
    out.class_ids.push_back(id);
  }
  const at::Tensor alpha = at::cat(alphas);
  out.window = window_of(alpha);
  out.alpha = middle(alpha, out.window);
  out.colour = middle(at::cat(colours), out.window);
  return out;
}

at::Tensor Templates::on(const at::Tensor& background) const { return colour - alpha * background.view({1, 3, 1, 1}); }

int64_t Templates::row_of(int64_t class_id) const {
  const auto found = std::find(class_ids.begin(), class_ids.end(), class_id);
  if (found == class_ids.end()) fail(ErrorKind::internal, "class ", class_id, " is no object of the world");
  return found - class_ids.begin();
}

}  // namespace glmimage::eval
