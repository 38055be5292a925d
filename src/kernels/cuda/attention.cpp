#include "kernels/cuda/attention.h"

#include <ATen/ops/empty.h>

#include <cmath>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/runtime.h"

namespace glmimage::kernels::cuda {
namespace {

constexpr Kernel kDecode{"attention", "decode_attention"}, kJoin{"attention", "join_attention"};
constexpr int kThreads = 256;

// The token's own key and value, unless they are in the cache already.
struct Next {
  at::Tensor k, v;
};

at::Tensor start(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Next& next, int64_t keys,
                 double scale) {
  const int64_t batch = q.size(0), heads = q.size(1), dim = q.size(3), pieces = (keys + kKeys - 1) / kKeys;
  const at::Tensor y = at::empty(q.sizes(), q.options());
  const at::Tensor parts = at::empty({batch * heads * pieces * (dim + 2)}, q.options().dtype(at::kFloat));
  float* const values = parts.mutable_data_ptr<float>();
  const bool has_next = next.k.defined();
  const DecodeAttentionArguments arguments{.q = q.const_data_ptr(),
                                           .k = k.data_ptr(),
                                           .v = v.data_ptr(),
                                           .next_k = has_next ? next.k.const_data_ptr() : nullptr,
                                           .next_v = has_next ? next.v.const_data_ptr() : nullptr,
                                           .values = values,
                                           .weights = values + batch * heads * pieces * dim,
                                           .y = y.mutable_data_ptr(),
                                           .q_batch = q.stride(0),
                                           .q_head = q.stride(1),
                                           .next_batch = has_next ? next.k.stride(0) : 0,
                                           .next_head = has_next ? next.k.stride(1) : 0,
                                           .k_batch = k.stride(0),
                                           .k_head = k.stride(1),
                                           .k_token = k.stride(2),
                                           .v_batch = v.stride(0),
                                           .v_head = v.stride(1),
                                           .v_token = v.stride(2),
                                           .heads = static_cast<int>(heads),
                                           .group = static_cast<int>(heads / k.size(1)),
                                           .dim = static_cast<int>(dim),
                                           .keys = static_cast<int>(keys),
                                           .pieces = static_cast<int>(pieces),
                                           .scale = static_cast<float>(scale)};
  Launch launch{
      .device = q.device(), .type = q.scalar_type(), .blocks = pieces, .rows = batch * k.size(1), .threads = kThreads};
  runtime().start(kDecode, launch, &arguments);
  launch.blocks = batch * heads, launch.rows = 1, launch.threads = kCachedDim;
  runtime().start(kJoin, launch, &arguments);
  return y;
}

double usual_scale(const at::Tensor& q) { return 1 / std::sqrt(static_cast<double>(q.size(3))); }

}  // namespace

bool can_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  if (options.bias || options.mask != Mask::none || !serves({q, k, v})) return false;
  return q.dim() == 4 && q.size(2) == 1 && k.sizes() == v.sizes() && k.size(1) > 0 && q.size(1) % k.size(1) == 0 &&
         q.size(1) / k.size(1) <= kGroup && q.size(3) == k.size(3) && q.size(3) <= kCachedDim &&
         options.keys.value_or(k.size(2)) > 0 && q.size(0) > 0 && in_chunks(q) && in_chunks(k) && in_chunks(v);
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  return start(q, k, v, {}, options.keys.value_or(k.size(2)), options.scale.value_or(usual_scale(q)));
}

bool can_attend_next(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                     const at::Tensor& value_cache, int64_t length) {
  return can_attend(q, key_cache, value_cache, {.keys = length + 1}) && length < key_cache.size(2) &&
         serves({q, k, v}) && k.dim() == 4 && k.sizes() == v.sizes() && k.size(0) == q.size(0) &&
         k.size(1) == key_cache.size(1) && k.size(2) == 1 && k.size(3) == key_cache.size(3) &&
         k.strides() == v.strides() && in_chunks(k) && in_chunks(v);
}

at::Tensor attend_next(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                       const at::Tensor& value_cache, int64_t length) {
  return start(q, key_cache, value_cache, {k, v}, length + 1, usual_scale(q));
}

}  // namespace glmimage::kernels::cuda
