#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace glmimage {

// Processes that share the tokens of long sequences ("Ulysses", Jacobs et al. 2023): each computes the tokens of its
// own part, and attention for all tokens with its own part of the heads. Models turn tensors by it between the two and
// know nothing else of it. B samples, T tokens of all P processes, H heads; parts are equal and in the order of ranks.
//
// All processes make the whole loss of what gather_tokens gives them. The loss's gradient is then the mean over the
// processes of what each back-propagates, so they count as if each had trained on a copy of the batch.
class SequenceParallel {
 public:
  virtual ~SequenceParallel() = default;
  virtual int64_t size() const = 0;
  virtual int64_t rank() const = 0;
  // (B, T/P, H, hd), own tokens -> (B, T, H/P, hd), own heads. All work under autograd.
  virtual at::Tensor to_heads(const at::Tensor& x) const = 0;
  // The way back: (B, T, H/P, hd) -> (B, T/P, H, hd).
  virtual at::Tensor to_tokens(const at::Tensor& x) const = 0;
  // (B, T/P, D) -> (B, T, D), everywhere.
  virtual at::Tensor gather_tokens(const at::Tensor& x) const = 0;

  // This process's part of a dimension that all of them have, and that their number divides.
  at::Tensor own_part(const at::Tensor& x, int64_t dim) const {
    const int64_t part = x.size(dim) / size();
    return x.narrow(dim, rank() * part, part);
  }
};

}  // namespace glmimage
