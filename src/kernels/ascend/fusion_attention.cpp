#include "kernels/ascend/fusion_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/div.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <map>
#include <mutex>

#include "kernels/ascend/takes.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels::ascend {
namespace {

// npu_fusion_attention(Tensor query, Tensor key, Tensor value, int head_num, str input_layout, Tensor? pse=None,
// Tensor? padding_mask=None, Tensor? atten_mask=None, float scale=1., float keep_prob=1., …, int sparse_mode=0, …) ->
// (Tensor, Tensor, Tensor, Tensor, int, int, int): softmax(mask(scale · (q kᵀ + pse))) v, the rows' greatest scores and
// sums, and what dropout drew. Has a gradient.
const DeviceOperator& op() {
  static const DeviceOperator found("npu::npu_fusion_attention", c10::DispatchKey::PrivateUse1);
  return found;
}

constexpr int64_t kLeftUpCausal = 2;       // sparse_mode: each token sees itself and what is before it
constexpr int64_t kCompressedMask = 2048;  // the side of the mask that sparse modes want, whatever the lengths are

// True above the diagonal. One for each device, for good: every layer keeps it for its gradient. Never freed, as the
// device's library may be gone by then.
at::Tensor compressed_causal_mask(const at::Device& device) {
  static auto* const made = new std::map<c10::DeviceIndex, at::Tensor>;
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  at::Tensor& mask = (*made)[device.index()];
  if (!mask.defined()) {
    mask = at::ones({kCompressedMask, kCompressedMask}, at::TensorOptions(at::kBool).device(device)).triu(1);
  }
  return mask;
}

// (B or 1, H or 1, Tq or 1, Tk) -> a shape the operator takes.
at::Tensor of_four_dims(at::Tensor bias) {
  while (bias.dim() < 4) bias = bias.unsqueeze(0);
  return bias;
}

// Scores to add, before they are scaled. Half and bfloat16 have no -inf worth the name here: a block of keys that all
// have it would be NaN on the way, where a huge number is zero in the end. Shapes: (B, H, Tq, Tk), (B, H, 1, Tk) or
// (1, H, Tq, Tk).
at::Tensor scores_to_add(const at::Tensor& bias, const at::Tensor& q, int64_t keys, double scale) {
  const double lowest = q.scalar_type() == at::kHalf ? -3e4 : -1e30;
  const at::Tensor wide = of_four_dims(bias);
  const bool same_rows = wide.size(2) == 1;
  const bool same_samples = wide.size(0) == 1 && !same_rows;
  return wide.to(at::kFloat)
      .div(scale)
      .clamp_min(lowest)
      .to(q.scalar_type())
      .expand({same_samples ? 1 : q.size(0), q.size(1), wide.size(2), keys})
      .contiguous();
}

// True where a key does not count: (B, H, Tq, Tk), (B, 1, Tq, Tk) or (1, 1, Tq, Tk).
at::Tensor hidden_keys(const at::Tensor& bias, const at::Tensor& q, int64_t keys) {
  const at::Tensor wide = of_four_dims(bias);
  const int64_t heads = wide.size(1), samples = heads > 1 ? q.size(0) : wide.size(0);
  return wide.logical_not().expand({samples, heads, q.size(2), keys}).contiguous();
}

bool bias_fits(const std::optional<at::Tensor>& bias) {
  return !bias ||
         (bias->dim() <= 4 && (bias->scalar_type() == at::kBool || is_float(*bias)) && !asks_for_gradient({*bias}));
}

}  // namespace

bool can_attend_in_training(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionOptions& options) {
  if (!asks_for_gradient({q, k, v}) || q.dim() != 4 || k.dim() != 4 || k.sizes() != v.sizes() || !is_float(q) ||
      k.scalar_type() != q.scalar_type() || v.scalar_type() != q.scalar_type() || q.numel() == 0 || k.numel() == 0) {
    return false;
  }
  const int64_t heads = q.size(1), kv_heads = k.size(1);
  return q.size(0) == k.size(0) && k.size(3) == q.size(3) && q.size(3) <= 768 && heads <= 256 &&
         heads % kv_heads == 0 && (options.mask == Mask::none || q.size(2) == k.size(2)) && bias_fits(options.bias) &&
         op().serves({q, k, v});
}

at::Tensor attend_in_training(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const AttentionOptions& options) {
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3))));
  const int64_t keys = options.keys.value_or(k.size(2));
  // Heads beside each other, as projections leave them, or behind each other: as it is with the queries.
  const bool inside = q.stride(1) < q.stride(2);
  const auto laid_out = [&](const at::Tensor& x) { return (inside ? x.transpose(1, 2) : x).contiguous(); };
  c10::IValue pse, mask;
  int64_t sparse_mode = 0;
  if (options.mask == Mask::causal) {
    mask = compressed_causal_mask(q.device());
    sparse_mode = kLeftUpCausal;
  } else if (options.bias && options.bias->scalar_type() == at::kBool) {
    mask = hidden_keys(*options.bias, q, keys);
  } else if (options.bias) {
    pse = scores_to_add(*options.bias, q, keys, scale);
  }
  const at::Tensor y = op().call({{"query", laid_out(q)},
                                  {"key", laid_out(k.narrow(2, 0, keys))},
                                  {"value", laid_out(v.narrow(2, 0, keys))},
                                  {"head_num", q.size(1)},
                                  {"input_layout", inside ? "BSND" : "BNSD"},
                                  {"pse", pse},
                                  {"atten_mask", mask},
                                  {"scale", scale},
                                  {"keep_prob", 1.0},
                                  {"sparse_mode", sparse_mode}})[0];
  return inside ? y.transpose(1, 2) : y;
}

}  // namespace glmimage::kernels::ascend
