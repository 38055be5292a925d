#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace glmimage::train {

// A named tensor, or a run of its elements: what one process keeps of what a training has of a parameter.
struct TensorPiece {
  std::string name;
  at::Tensor values;           // the tensor itself, or (n) of its elements
  std::vector<int64_t> shape;  // of the whole tensor
  int64_t offset = 0;          // of the first of `values` in the flattened tensor

  int64_t whole_elements() const {
    int64_t product = 1;
    for (int64_t side : shape) product *= side;
    return product;
  }
};

}  // namespace glmimage::train
