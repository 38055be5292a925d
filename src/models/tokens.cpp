#include "models/tokens.h"

#include "core/error.h"

namespace glmimage {

at::Tensor upsample_to_prior(const VisualTokens& tokens) {
  const auto [h, w] = tokens.grid;
  if (tokens.ids.dim() != 2 || tokens.ids.size(1) != h * w) {
    fail(ErrorKind::internal, "visual tokens: ids of the shape ", tokens.ids.sizes(), " for a grid of ", h, " x ", w);
  }
  const int64_t count = tokens.ids.size(0);
  return tokens.ids.view({count, h, 1, w, 1}).expand({count, h, 2, w, 2}).reshape({count, 4 * h * w});
}

}  // namespace glmimage
