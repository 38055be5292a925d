#include "kernels/ascend/attention.h"

#include <vector>

#include "kernels/ascend/takes.h"
#include "kernels/device_operator.h"

// torch_npu's own scaled_dot_product_attention (op_plugin/ops/opapi/ScaledDotProductAttentionKernelNpuOpApi.cpp) takes
// npu_fusion_attention_v3 without a mask, with a causal one or a mask of bools, and writes the scores out with a mask
// of floats. It copies what does not lie behind each other, so a cache that is half full is copied for every token, and
// heads that lie beside each other are moved. This twin avoids both.
namespace glmimage::kernels::ascend {
namespace {

// npu_fused_infer_attention_score(Tensor query, Tensor key, Tensor value, *, …, SymInt[]? actual_seq_lengths_kv=None,
// …, int num_heads=1, float scale=1.0, …, str input_layout="BSH", int num_key_value_heads=0, …) -> (Tensor, Tensor).
// No gradient. Tensors have to be contiguous.
const DeviceOperator& op() {
  static const DeviceOperator found("npu::npu_fused_infer_attention_score", c10::DispatchKey::PrivateUse1);
  return found;
}

// (B, T, H, D) in memory.
bool heads_are_inside(const at::Tensor& x) { return x.transpose(1, 2).is_contiguous(); }

}  // namespace

bool can_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  if (q.dim() != 4 || k.dim() != 4 || k.sizes() != v.sizes() || !is_half(q) || k.scalar_type() != q.scalar_type() ||
      v.scalar_type() != q.scalar_type() || q.numel() == 0 || k.numel() == 0) {
    return false;
  }
  const int64_t heads = q.size(1), kv_heads = k.size(1), width = q.size(3);
  return q.size(0) == k.size(0) && k.size(3) == width && width % 16 == 0 && width <= 512 && q.size(0) <= 65536 &&
         heads <= 256 && heads % kv_heads == 0 && heads / kv_heads <= 64 && !asks_for_gradient({q, k, v}) &&
         op().serves({});
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                  std::optional<int64_t> keys) {
  const int64_t heads = q.size(1), kv_heads = k.size(1);
  // As it lies in memory, where the product of heads and dims allows.
  const bool inside = heads * q.size(3) < 65535 && heads_are_inside(q) && heads_are_inside(k) && heads_are_inside(v);
  const auto laid_out = [&](const at::Tensor& x) { return inside ? x.transpose(1, 2) : x.contiguous(); };
  std::optional<std::vector<int64_t>> lengths;
  if (keys) lengths = std::vector<int64_t>{*keys};
  const at::Tensor y = op().call({{"query", laid_out(q)},
                                  {"key", laid_out(k)},
                                  {"value", laid_out(v)},
                                  {"actual_seq_lengths_kv", lengths},
                                  {"num_heads", heads},
                                  {"scale", scale},
                                  {"input_layout", inside ? "BSND" : "BNSD"},
                                  {"num_key_value_heads", kv_heads}})[0];
  return inside ? y.transpose(1, 2) : y;
}

}  // namespace glmimage::kernels::ascend
