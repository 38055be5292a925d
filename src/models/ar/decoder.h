#pragma once

#include <ATen/core/Tensor.h>

#include "models/ar/model.h"

namespace glmimage {

// One token after another behind a prompt, where the id of a token is a tensor of the device: nothing waits for the
// device between two tokens. With a cache of Fill::device a step takes nothing from the host at all: it reads id(),
// writes logits(), and counts its tokens on the device.
class ArDecoder {
 public:
  // `cache` holds the prompt; `rope` (1, N, 1, R/2) is of the tokens to come. All three outlive the decoder.
  ArDecoder(const ArModel& model, KvCache& cache, const Rope& rope);

  const at::Tensor& id() const { return id_; }          // (1) int64, the token a step feeds
  const at::Tensor& logits() const { return logits_; }  // (1, Vv) after the last step
  // Feeds id(). Throws ErrorKind::internal when the cache is full.
  void step();
  // Feeds `id`, (1) int64 on the device.
  void feed(const at::Tensor& id) {
    id_.copy_(id);
    step();
  }

 private:
  Rope next_rope();  // (1, 1, 1, R/2)

  const ArModel& model_;
  KvCache& cache_;
  const Rope& rope_;
  int64_t fed_ = 0;
  at::Tensor id_, logits_, place_;  // place_ (1) int64: the token of rope_ that comes next, for Fill::device
};

}  // namespace glmimage
