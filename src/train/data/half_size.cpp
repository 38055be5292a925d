#include "train/data/half_size.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include "core/resize.h"
#include "models/visual_tokenizer/preprocess.h"

namespace glmimage::train {

at::Tensor half_size_patches(const std::vector<Image>& images, Grid grid, const PreprocessConfig& config) {
  std::vector<at::Tensor> rows;
  rows.reserve(images.size());
  for (const Image& image : images) {
    const Image seen = resize(image, grid.width * config.patch_size, grid.height * config.patch_size, config.resample);
    rows.push_back(cut_patches(seen, config).values);
  }
  return at::stack(rows);
}

at::Tensor vae_pixels(const std::vector<Image>& images) {
  const int64_t count = static_cast<int64_t>(images.size()), height = images[0].height, width = images[0].width;
  at::Tensor out = at::empty({count, 3, height, width}, at::kFloat);
  float* to = out.data_ptr<float>();
  for (const Image& image : images) {
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = 0; i < height * width; ++i) {
        *to++ = static_cast<float>(image.pixels[static_cast<size_t>(3 * i + c)]) / 127.5f - 1.0f;
      }
    }
  }
  return out;
}

at::Tensor position_ids(Grid grid, int64_t side) {
  std::vector<int64_t> ids;
  for (int64_t r = 0; r < grid.height; ++r) {
    for (int64_t c = 0; c < grid.width; ++c)
      ids.push_back((2 * r + 1) * side / (2 * grid.height) * side + (2 * c + 1) * side / (2 * grid.width));
  }
  return at::tensor(ids, at::kLong);
}

}  // namespace glmimage::train
