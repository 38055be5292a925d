#include "vendor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <torch/library.h>

#include <memory>
#include <string>
#include <vector>

#include "vendor_call.h"

namespace emulated_npu {
namespace {

// x / sqrt(mean(x²) + eps) · gamma, all in float32, rounded once.
void rms_norm(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Tensor x = call.tensor("self"), gamma = call.tensor("gamma");
  call.refuse_unless(is_float(x) && (gamma.scalar_type() == x.scalar_type() || gamma.scalar_type() == at::kFloat),
                     "half, bfloat16 or float32, gamma of that type or float32");
  call.refuse_unless(x.dim() >= 2 && x.dim() <= 8, "2 to 8 dimensions");
  call.refuse_unless(gamma.sizes() == x.sizes().slice(static_cast<size_t>(x.dim() - gamma.dim())), "gamma of the tail");
  const Tensor wide = x.to(at::kFloat);
  const Tensor rstd = at::rsqrt((wide * wide).mean({-1}, true) + call.at("epsilon").toDouble());
  call.give({(wide * rstd * gamma.to(at::kFloat)).to(x.scalar_type()), rstd});
}

// x · cos + cat(-x2, x1) · sin.
void rotary_mul(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Tensor x = call.tensor("self"), cos = call.tensor("r1"), sin = call.tensor("r2");
  call.refuse_unless(call.at("rotary_mode").toStringRef() == "half" && call.at("rotate").isNone(), "mode half");
  call.refuse_unless(is_float(x) && x.dim() == 4 && cos.dim() == 4 && sin.sizes() == cos.sizes(), "4 dimensions");
  const int64_t width = x.size(3);
  call.refuse_unless(width % 2 == 0 && width < 896 && x.size(0) < 1000 && x.size(2) < 1000, "an even width below 896");
  call.refuse_unless(cos.size(3) == width && cos.size(2) == 1 && cos.size(1) == x.size(1) &&
                         (cos.size(0) == 1 || cos.size(0) == x.size(0)),
                     "r1 and r2 of 1S1D or BS1D for x of BSND");
  const Tensor rotated = at::cat({-x.narrow(3, width / 2, width / 2), x.narrow(3, 0, width / 2)}, 3);
  const at::ScalarType type = x.scalar_type();  // cos and sin are cast to it
  call.give({x * cos.to(type) + rotated * sin.to(type)});
}

void swiglu(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Tensor x = call.tensor("self");
  const int64_t dim = call.integer("dim"), half = x.size(dim) / 2;
  call.refuse_unless(is_float(x) && x.is_contiguous() && x.numel() > 0 && x.size(dim) % 2 == 0, "contiguous values");
  call.give({at::silu(x.narrow(dim, 0, half)) * x.narrow(dim, half, half)});
}

// softmax(q kᵀ · scale) v over the first actual_seq_lengths_kv keys.
void fused_infer_attention_score(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const std::string layout = call.at("input_layout").toStringRef();
  call.refuse_unless(layout == "BSND" || layout == "BNSD", "a layout these tests know");
  const auto heads_first = [&](const std::string& name) {
    const Tensor x = call.tensor(name);
    call.refuse_unless(is_half(x) && x.dim() == 4 && x.is_contiguous(), "contiguous half or bfloat16 of 4 dimensions");
    return layout == "BNSD" ? x : x.transpose(1, 2);
  };
  const Tensor q = heads_first("query"), k = heads_first("key"), v = heads_first("value");
  const int64_t heads = q.size(1), kv_heads = k.size(1), width = q.size(3);
  call.refuse_unless(call.integer("num_heads") == heads && call.integer("num_key_value_heads") == kv_heads, "N heads");
  call.refuse_unless(heads % kv_heads == 0 && heads / kv_heads <= 64 && heads <= 256, "64 heads to a KV head");
  call.refuse_unless(k.sizes() == v.sizes() && k.size(3) == width && width % 16 == 0 && width <= 512, "D of 16");
  call.refuse_unless(layout == "BNSD" || heads * width < 65535, "N * D < 65535");
  int64_t keys = k.size(2);
  if (!call.at("actual_seq_lengths_kv").isNone()) {
    const std::vector<int64_t> lengths = call.at("actual_seq_lengths_kv").toIntVector();
    call.refuse_unless(lengths.size() == 1 && lengths[0] >= 1 && lengths[0] <= keys, "a length for all samples");
    keys = lengths[0];
  }
  const auto expanded = [&](const Tensor& x) {
    return x.narrow(2, 0, keys).to(at::kFloat).repeat_interleave(heads / kv_heads, 1);  // (B, H, keys, D)
  };
  const Tensor scores = at::matmul(q.to(at::kFloat), expanded(k).transpose(2, 3)) * call.at("scale").toDouble();
  const Tensor y = at::matmul(at::softmax(scores, -1), expanded(v)).to(q.scalar_type());
  call.give({layout == "BNSD" ? y : y.transpose(1, 2).contiguous(), at::empty({0}, q.options().dtype(at::kFloat))});
}

// x (M, K) times (weight · antiquant_scale) (K, N). int32 weights hold eight signed values of four bits.
void weight_quant_batchmatmul(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Tensor x = call.tensor("x"), weight = call.tensor("weight"), scale = call.tensor("antiquant_scale");
  call.refuse_unless(is_half(x) && x.dim() == 2 && x.is_contiguous() && scale.scalar_type() == x.scalar_type(),
                     "half or bfloat16 x (M, K) and scales of that type");
  call.refuse_unless(weight.dim() == 2 && weight.t().is_contiguous(), "a transposed weight (K, N)");
  Tensor rows = weight.t();  // (N, K)
  if (weight.scalar_type() == at::kInt) {
    std::vector<Tensor> values;
    for (int64_t i = 0; i < 8; ++i) {
      values.push_back(rows.bitwise_right_shift(4 * i).bitwise_and(15).bitwise_xor(8) - 8);
    }
    rows = at::stack(values, -1).flatten(1);
  } else {
    call.refuse_unless(weight.scalar_type() == at::kChar, "int8 or int32 weights");
  }
  const int64_t in = rows.size(1), out = rows.size(0), group = call.integer("antiquant_group_size");
  call.refuse_unless(x.size(1) == in && in <= 65535 && out <= 65535, "equal K, K and N up to 65535");
  call.refuse_unless(group == 0 || (group % 32 == 0 && group >= 32 && group < in), "groups of a multiple of 32");
  call.refuse_unless(scale.dim() == 2 && scale.size(0) == (group == 0 ? 1 : in / group) && scale.size(1) == out,
                     "scales (groups, N)");
  const std::optional<Tensor> bias = call.maybe("bias");
  const at::ScalarType bias_type = x.scalar_type() == at::kBFloat16 ? at::kFloat : at::kHalf;
  call.refuse_unless(!bias || (bias->scalar_type() == bias_type && bias->is_contiguous()), "a bias of float32 or half");
  const Tensor matrix = (rows.to(at::kFloat).view({out, scale.size(0), -1}) * scale.t().to(at::kFloat).unsqueeze(-1))
                            .to(x.scalar_type())
                            .flatten(1);
  Tensor y = at::matmul(x.to(at::kFloat), matrix.to(at::kFloat).t());
  if (bias) y = y + bias->to(at::kFloat);
  call.give({y.to(x.scalar_type())});
}

// A scale for each token, and the token in int8.
void dynamic_quant(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Tensor x = call.tensor("input");
  call.refuse_unless(is_half(x) && x.dim() > 1, "half or bfloat16 of two dimensions or more");
  const Tensor wide = x.to(at::kFloat), scale = wide.abs().amax({-1}) / 127;
  call.give({(wide / scale.unsqueeze(-1)).round().to(at::kChar), scale});
}

// x1 x2 · scale · pertoken_scale + bias.
void quant_matmul(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Tensor a = call.tensor("x1"), b = call.tensor("x2"), scale = call.tensor("scale");
  const std::optional<Tensor> tokens = call.maybe("pertoken_scale"), bias = call.maybe("bias");
  call.refuse_unless(a.scalar_type() == at::kChar && b.scalar_type() == at::kChar && a.dim() == 2 && b.dim() == 2,
                     "int8 matrices");
  call.refuse_unless(scale.scalar_type() == at::kFloat && scale.sizes() == at::IntArrayRef{b.size(1)}, "scales (N)");
  call.refuse_unless(tokens && tokens->scalar_type() == at::kFloat && tokens->sizes() == at::IntArrayRef{a.size(0)},
                     "pertoken_scale (M) float32");
  call.refuse_unless(!bias || bias->scalar_type() == at::kFloat, "a bias of float32");
  const auto type = static_cast<at::ScalarType>(call.integer("output_dtype"));
  call.refuse_unless(type == at::kHalf || type == at::kBFloat16, "an output of half or bfloat16");
  Tensor y = at::matmul(a.to(at::kDouble), b.to(at::kDouble)) * scale * tokens->unsqueeze(-1);
  if (bias) y = y + *bias;
  call.give({y.to(type)});
}

std::unique_ptr<torch::Library> vendor_library() {
  auto npu = std::make_unique<torch::Library>(torch::Library::DEF, "npu", std::nullopt, __FILE__, __LINE__);
  define<&rms_norm>(*npu, "npu_rms_norm(Tensor self, Tensor gamma, float epsilon=1e-06) -> (Tensor, Tensor)", true);
  define<&rotary_mul>(*npu,
                      "npu_rotary_mul(Tensor self, Tensor r1, Tensor r2, str rotary_mode='half', Tensor? rotate=None) "
                      "-> Tensor",
                      true);
  define<&swiglu>(*npu, "npu_swiglu(Tensor self, int dim=-1) -> Tensor", true);
  define<&fused_infer_attention_score>(
      *npu,
      "npu_fused_infer_attention_score(Tensor query, Tensor key, Tensor value, *, Tensor? pse_shift=None, Tensor? "
      "atten_mask=None, SymInt[]? actual_seq_lengths=None, SymInt[]? actual_seq_lengths_kv=None, Tensor? "
      "dequant_scale1=None, Tensor? quant_scale1=None, Tensor? dequant_scale2=None, Tensor? quant_scale2=None, Tensor? "
      "quant_offset2=None, Tensor? antiquant_scale=None, Tensor? antiquant_offset=None, Tensor? "
      "key_antiquant_scale=None, Tensor? key_antiquant_offset=None, Tensor? value_antiquant_scale=None, Tensor? "
      "value_antiquant_offset=None, Tensor? block_table=None, Tensor? query_padding_size=None, Tensor? "
      "kv_padding_size=None, Tensor? key_shared_prefix=None, Tensor? value_shared_prefix=None, SymInt[]? "
      "actual_shared_prefix_len=None, Tensor? query_rope=None, Tensor? key_rope=None, Tensor? "
      "key_rope_antiquant_scale=None, int num_heads=1, float scale=1.0, int pre_tokens=2147483647, int "
      "next_tokens=2147483647, str input_layout=\"BSH\", int num_key_value_heads=0, int sparse_mode=0, int "
      "inner_precise=0, int block_size=0, int antiquant_mode=0, int key_antiquant_mode=0, int "
      "value_antiquant_mode=0, bool softmax_lse_flag=False) -> (Tensor, Tensor)",
      false);
  define<&weight_quant_batchmatmul>(
      *npu,
      "npu_weight_quant_batchmatmul(Tensor x, Tensor weight, Tensor antiquant_scale, Tensor? antiquant_offset=None, "
      "Tensor? quant_scale=None, Tensor? quant_offset=None, Tensor? bias=None, int antiquant_group_size=0, int "
      "inner_precise=0, int? weight_dtype=None) -> Tensor",
      false);
  define<&dynamic_quant>(
      *npu,
      "npu_dynamic_quant(Tensor input, *, Tensor? smooth_scales=None, Tensor? group_index=None, int? dst_type=None, "
      "str quant_mode=\"pertoken\", float dst_type_max=0.0) -> (Tensor, Tensor)",
      false);
  define<&quant_matmul>(
      *npu,
      "npu_quant_matmul(Tensor x1, Tensor x2, Tensor scale, *, Tensor? offset=None, Tensor? pertoken_scale=None, "
      "Tensor? bias=None, int? output_dtype=None, int? x1_dtype=None, int? x2_dtype=None, int? "
      "pertoken_scale_dtype=None, int? scale_dtype=None, int[]? group_sizes=None, Tensor? y_scale=None) -> Tensor",
      false);
  define_training_operators(*npu);
  return npu;
}

}  // namespace

void offer_vendor_operators(bool offer) {
  static auto* const offered = new std::vector<std::unique_ptr<torch::Library>>;  // leaked: the dispatcher outlives it
  if (!offer) {
    offered->clear();
  } else if (offered->empty()) {
    offered->push_back(vendor_library());
    offered->push_back(vendor_kernels_of_libtorch());
  }
}

}  // namespace emulated_npu
