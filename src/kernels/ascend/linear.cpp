#include "kernels/ascend/linear.h"

#include <vector>

#include "kernels/ascend/takes.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels::ascend {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

constexpr int64_t kWidest = 65535;
constexpr int64_t kFewTokens = 16;

// npu_weight_quant_batchmatmul(Tensor x, Tensor weight, Tensor antiquant_scale, …, Tensor? bias=None,
// int antiquant_group_size=0, …) -> Tensor: x (M, K), weight (K, N), scale (1, N) or (groups, N). No gradient.
const DeviceOperator& few_bits() {
  static const DeviceOperator found("npu::npu_weight_quant_batchmatmul", c10::DispatchKey::PrivateUse1);
  return found;
}

// npu_dynamic_quant(Tensor input, *, …) -> (Tensor, Tensor): rows as int8 and their scales, float32. No gradient.
const DeviceOperator& to_bytes() {
  static const DeviceOperator found("npu::npu_dynamic_quant", c10::DispatchKey::PrivateUse1);
  return found;
}

// npu_quant_matmul(Tensor x1, Tensor x2, Tensor scale, *, …, Tensor? pertoken_scale=None, Tensor? bias=None,
// int? output_dtype=None, …) -> Tensor: x1 (M, K), x2 (K, N) int8, scale (N), pertoken_scale (M) float32. No gradient.
const DeviceOperator& bytes() {
  static const DeviceOperator found("npu::npu_quant_matmul", c10::DispatchKey::PrivateUse1);
  return found;
}

bool of_bytes(const at::Tensor& q) { return q.scalar_type() == at::kChar; }
bool of_signed_halves(const at::Tensor& q) { return q.scalar_type() == at::kInt && q.dim() == 2; }

int64_t width(const at::Tensor& q) { return of_bytes(q) ? q.size(1) : 8 * q.size(1); }

bool fits(const at::Tensor& x, const at::Tensor& q, const MaybeTensor& bias) {
  return is_half(x) && x.dim() >= 1 && x.numel() > 0 && x.size(-1) == width(q) && width(q) <= kWidest &&
         q.size(0) <= kWidest && q.is_contiguous() && !asks_for_gradient({x, bias.value_or(at::Tensor())});
}

at::Tensor rows(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}).contiguous(); }

at::Tensor shaped_like(const at::Tensor& y, const at::Tensor& x) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = y.size(-1);
  return y.view(shape);
}

MaybeTensor bias_in(const MaybeTensor& bias, at::ScalarType type) {
  return bias ? MaybeTensor(bias->to(type).contiguous()) : std::nullopt;
}

constexpr int64_t kUpperBits = 0x88;  // of both halves of a byte: 8 less or more, modulo 16

bool takes_groups(int64_t in, int64_t groups) {
  return groups > 0 && in % groups == 0 && (groups == 1 || in / groups % 32 == 0);
}

}  // namespace

bool can_sign(const at::Tensor& q, const at::Tensor& scale, at::ScalarType tokens) {
  return q.scalar_type() == at::kByte && q.dim() == 2 && scale.dim() == 2 && q.size(1) % 4 == 0 &&
         2 * q.size(1) <= kWidest && q.size(0) <= kWidest && takes_groups(2 * q.size(1), scale.size(1)) &&
         (tokens == at::kBFloat16 || tokens == at::kHalf) && few_bits().serves({});
}

at::Tensor signed_halves(const at::Tensor& q) { return q.bitwise_xor(kUpperBits).contiguous().view(at::kInt); }

at::Tensor from_signed_halves(const at::Tensor& q) { return q.contiguous().view(at::kByte).bitwise_xor(kUpperBits); }

bool can_multiply(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  if ((!of_bytes(q) && !of_signed_halves(q)) || scale.dim() != 2 || !fits(x, q, bias)) return false;
  return scale.size(0) == q.size(0) && takes_groups(width(q), scale.size(1)) && few_bits().serves({});
}

at::Tensor multiply(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  const int64_t groups = scale.size(1);
  // Of bfloat16 products the bias is float32, of half ones half.
  const at::ScalarType bias_type = x.scalar_type() == at::kBFloat16 ? at::kFloat : at::kHalf;
  const at::Tensor y = few_bits().call({{"x", rows(x)},
                                        {"weight", q.t()},
                                        {"antiquant_scale", scale.to(x.scalar_type()).t()},
                                        {"bias", bias_in(bias, bias_type)},
                                        {"antiquant_group_size", groups == 1 ? int64_t{0} : width(q) / groups}})[0];
  return shaped_like(y, x);
}

bool can_multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  return of_bytes(q) && scale.dim() == 2 && scale.size(1) == 1 && scale.size(0) == q.size(0) && fits(x, q, bias) &&
         x.numel() / x.size(-1) > kFewTokens && to_bytes().serves({}) && bytes().serves({});
}

at::Tensor multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  const std::vector<at::Tensor> tokens = to_bytes().call({{"input", rows(x)}});  // (M, K) int8, (M) float32
  const at::Tensor y = bytes().call({{"x1", tokens[0]},
                                     {"x2", q.t()},
                                     {"scale", scale.view(-1).to(at::kFloat)},
                                     {"pertoken_scale", tokens[1]},
                                     {"bias", bias_in(bias, at::kFloat)},
                                     {"output_dtype", static_cast<int64_t>(x.scalar_type())}})[0];
  return shaped_like(y, x);
}

}  // namespace glmimage::kernels::ascend
