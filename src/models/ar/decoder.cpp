#include "models/ar/decoder.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace glmimage {

ArDecoder::ArDecoder(const ArModel& model, KvCache& cache, const Rope& rope)
    : model_(model), cache_(cache), rope_(rope) {
  const auto options = model.embed_tokens.weight.options().requires_grad(false);
  id_ = at::zeros({1}, options.dtype(at::kLong));
  place_ = at::zeros({1}, options.dtype(at::kLong));
  logits_ = at::empty({1, model.lm_head.out}, options);
}

Rope ArDecoder::next_rope() {
  if (cache_.fill() == Fill::host) return rope_.at(fed_++);
  const Rope next{rope_.cos.index_select(1, place_), rope_.sin.index_select(1, place_)};
  place_.add_(1);
  return next;
}

void ArDecoder::step() {
  if (cache_.length() == cache_.capacity()) fail(ErrorKind::internal, "the key/value cache has no slot for a token");
  const at::Tensor embedding = model_.embed(id_.unsqueeze(0));                           // (1, 1, D)
  const at::Tensor hidden = model_.decode(embedding, next_rope(), cache_).select(1, 0);  // (1, D)
  logits_.copy_(model_.logits(hidden));
}

}  // namespace glmimage
