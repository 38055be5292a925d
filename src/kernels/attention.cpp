#include "kernels/attention.h"

#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/library.h>

#include <cmath>

#include "kernels/ascend/attention.h"
#include "kernels/ascend/fusion_attention.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/attention.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

// With one token to ask, the query heads of a KV head take the place of query tokens: keys and values are read once,
// unexpanded. A bias that differs by head cannot follow.
bool heads_can_be_tokens(const at::Tensor& q, const at::Tensor& k, const MaybeTensor& bias) {
  return q.size(2) == 1 && q.size(1) != k.size(1) && (!bias || (bias->dim() == 4 && bias->size(1) == 1));
}

at::Tensor composition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const MaybeTensor& bias,
                       bool causal, std::optional<double> scale, std::optional<int64_t> keys) {
  const auto known = [&](const at::Tensor& x) { return keys ? x.narrow(2, 0, *keys) : x; };  // (B, Hkv, keys, D)
  if (heads_can_be_tokens(q, k, bias)) {
    const at::Tensor grouped = q.reshape({q.size(0), k.size(1), q.size(1) / k.size(1), q.size(3)});
    return at::scaled_dot_product_attention(grouped, known(k), known(v), bias, /*dropout_p=*/0.0, false, scale)
        .reshape(q.sizes());
  }
  return at::scaled_dot_product_attention(q, known(k), known(v), bias, /*dropout_p=*/0.0, causal, scale,
                                          /*enable_gqa=*/q.size(1) != k.size(1));
}

// What the dispatcher hands over, as the twins take it.
AttentionOptions options_of(const MaybeTensor& bias, bool causal, std::optional<double> scale,
                            std::optional<int64_t> keys) {
  return {.mask = causal ? Mask::causal : Mask::none, .scale = scale, .bias = bias, .keys = keys};
}

at::Tensor on_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const MaybeTensor& bias, bool causal,
                  std::optional<double> scale, std::optional<int64_t> keys) {
  const AttentionOptions options = options_of(bias, causal, scale, keys);
  return cpu::can_attend(q, k, v, options) ? cpu::attend(q, k, v, options)
                                           : composition(q, k, v, bias, causal, scale, keys);
}

at::Tensor on_npu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const MaybeTensor& bias, bool causal,
                  std::optional<double> scale, std::optional<int64_t> keys) {
  const AttentionOptions options = options_of(bias, causal, scale, keys);
  if (ascend::can_attend_in_training(q, k, v, options)) return ascend::attend_in_training(q, k, v, options);
  if (bias || causal || !ascend::can_attend(q, k, v)) return composition(q, k, v, bias, causal, scale, keys);
  return ascend::attend(q, k, v, scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3)))), keys);
}

at::Tensor on_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const MaybeTensor& bias, bool causal,
                   std::optional<double> scale, std::optional<int64_t> keys) {
  const AttentionOptions options = options_of(bias, causal, scale, keys);
  return cuda::can_attend(q, k, v, options) ? cuda::attend(q, k, v, options)
                                            : composition(q, k, v, bias, causal, scale, keys);
}

at::Tensor next_composition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                            const at::Tensor& value_cache, int64_t length) {
  key_cache.narrow(2, length, 1).copy_(k.detach());
  value_cache.narrow(2, length, 1).copy_(v.detach());
  return attention(q, key_cache, value_cache, {.keys = length + 1});
}

at::Tensor next_on_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                        const at::Tensor& value_cache, int64_t length) {
  return cuda::can_attend_next(q, k, v, key_cache, value_cache, length)
             ? cuda::attend_next(q, k, v, key_cache, value_cache, length)
             : next_composition(q, k, v, key_cache, value_cache, length);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("attention(Tensor q, Tensor k, Tensor v, Tensor? bias, bool causal, float? scale, int? keys) -> Tensor");
  register_kernel(m, "attention", composition, on_cpu, composition);
  register_on_device(m, "attention", c10::DispatchKey::PrivateUse1, on_npu);
  register_on_device(m, "attention", c10::DispatchKey::CUDA, on_cuda);
  m.def(
      "attend_next(Tensor q, Tensor k, Tensor v, Tensor(a!) key_cache, Tensor(b!) value_cache, int length) -> Tensor");
  m.impl("attend_next", c10::DispatchKey::CompositeImplicitAutograd, next_composition);
  register_on_device(m, "attend_next", c10::DispatchKey::CUDA, next_on_cuda);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const MaybeTensor&, bool,
                               std::optional<double>, std::optional<int64_t>)>("glm_image::attention");
  return op.call(q, k, v, options.bias, options.mask == Mask::causal, options.scale, options.keys);
}

bool attention_is_fused(const at::Device& device) { return device.is_cpu() || device.is_cuda(); }

at::Tensor attend_next(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                       const at::Tensor& value_cache, int64_t length) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                               const at::Tensor&, int64_t)>("glm_image::attend_next");
  return op.call(q, k, v, key_cache, value_cache, length);
}

}  // namespace glmimage::kernels
