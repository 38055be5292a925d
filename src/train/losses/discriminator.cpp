#include "train/losses/discriminator.h"

#include <ATen/ops/leaky_relu.h>

#include <algorithm>

#include "core/error.h"

namespace glmimage::train {
namespace {

constexpr int64_t kKernel = 4, kPadding = 1;
constexpr double kSlope = 0.2;         // of the leaky ReLU
constexpr int64_t kMostWidths = 8;     // channels stop doubling at this many times the width
constexpr int64_t kGroupChannels = 8;  // of the norms: as in group norm's best settings, for any width

}  // namespace

Discriminator::Discriminator(DiscriminatorSizes sizes) : sizes(sizes) {
  int64_t in = 3;
  for (int64_t i = 0; i <= sizes.depth; ++i) {
    const int64_t out = sizes.width * std::min(int64_t{1} << i, kMostWidths);
    convolutions.emplace_back(in, out, kKernel, i < sizes.depth ? 2 : 1, kPadding);
    if (i > 0) norms.emplace_back(out / kGroupChannels, out, 1e-5);
    in = out;
  }
  convolutions.emplace_back(in, 1, kKernel, 1, kPadding);
}

void Discriminator::list(ParameterList& list, const std::string& prefix) {
  for (size_t i = 0; i < convolutions.size(); ++i) {
    convolutions[i].list(list, prefix + ".convolutions." + std::to_string(i));
  }
  for (size_t i = 0; i < norms.size(); ++i) norms[i].list(list, prefix + ".norms." + std::to_string(i));
}

at::Tensor Discriminator::operator()(const at::Tensor& pixels) const {
  check_room(pixels.size(2), pixels.size(3));
  at::Tensor h = at::leaky_relu(convolutions.front()(pixels), kSlope);  // (B, width, H/2, W/2)
  for (size_t i = 0; i < norms.size(); ++i) h = at::leaky_relu(norms[i](convolutions[i + 1](h)), kSlope);
  return convolutions.back()(h).to(at::kFloat);
}

void Discriminator::check_room(int64_t height, int64_t width) const {
  const int64_t smallest = int64_t{3} << sizes.depth;  // two convolutions without stride take a pixel each
  if (std::min(height, width) >= smallest) return;
  fail(ErrorKind::usage, "pictures of ", width, " x ", height, " are too small for a discriminator that halves their ",
       "sides ", sizes.depth, " times (vae.discriminator_depth); it needs ", smallest, " pixels");
}

Discriminator Discriminator::frozen() const {
  Discriminator copy = *this;
  ParameterList parameters;
  copy.list(parameters);
  for (const Parameter& p : parameters) *p.tensor = p.tensor->detach();
  return copy;
}

}  // namespace glmimage::train
