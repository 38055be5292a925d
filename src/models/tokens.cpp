#include "models/tokens.h"

#include "core/error.h"

namespace glmimage {

at::Tensor upsample_to_prior(const VisualTokens& tokens) {
  const auto [h, w] = tokens.grid;
  if (tokens.ids.numel() != h * w) {
    fail(ErrorKind::internal, "visual tokens: ", tokens.ids.numel(), " ids for a grid of ", h, " x ", w);
  }
  return tokens.ids.reshape({h, 1, w, 1}).expand({h, 2, w, 2}).reshape({1, 4 * h * w});
}

}  // namespace glmimage
