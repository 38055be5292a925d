#include "train/losses/glyph_places.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <cmath>

namespace glmimage::train {
namespace {

constexpr int64_t kPlaces = 16, kFromMiddle = 2 * kPlaces - 1;

}  // namespace

GlyphPlaceHeads::GlyphPlaceHeads(int64_t width) : places(width, 2 * kPlaces + kFromMiddle, Bias::yes) {}

void GlyphPlaceHeads::list(ParameterList& list) {
  places.list(list, "glyph_places", 1 / std::sqrt(static_cast<double>(places.in)));
}

at::Tensor glyph_places(int64_t length) {
  const at::Tensor from_start = at::arange(length, at::kLong);
  at::Tensor places = at::stack({from_start, (length - 2) - from_start}, -1).clamp_max(kPlaces - 1);
  places.select(0, length - 1).fill_(-1);
  return places;
}

at::Tensor glyph_place_loss(const GlyphPlaceHeads& heads, const at::Tensor& glyphs, const at::Tensor& places) {
  const at::Tensor logits = heads.places(glyphs).to(at::kFloat).flatten(0, 1);  // (B·G, 63)
  const at::Tensor from_start = places.select(-1, 0).flatten(), from_end = places.select(-1, 1).flatten();
  const at::Tensor from_middle = at::where(from_start < 0, from_start, from_start - from_end + (kPlaces - 1));
  const auto count = (from_start >= 0).sum().clamp_min(1);
  const auto loss = [&](int64_t first, int64_t classes, const at::Tensor& wanted) {
    return at::cross_entropy_loss(logits.narrow(1, first, classes), wanted, {}, at::Reduction::Sum,
                                  /*ignore_index=*/-1) /
           count;
  };
  return (loss(0, kPlaces, from_start) + loss(kPlaces, kPlaces, from_end) +
          loss(2 * kPlaces, kFromMiddle, from_middle)) /
         3;
}

}  // namespace glmimage::train
