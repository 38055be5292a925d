// torch_npu's operators that train: attention with the gradient its derivatives.yaml names, and the optimiser's.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

#include "vendor_call.h"

namespace emulated_npu {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kStatistics = 8;  // the last dimension of softmax_max and softmax_sum, every value the same

// The inputs of both operators, as (B, N, S, D) in float32, query heads of their own.
class Attention {
 public:
  Attention(const Call& call, const std::string& scale_name)
      : call_(call), layout_(call.at("input_layout").toStringRef()), scale_(call.at(scale_name).toDouble()) {
    call.refuse_unless(layout_ == "BSND" || layout_ == "BNSD", "a layout these tests know");
    for (const char* name : {"query", "key", "value"}) {
      const Tensor x = call.tensor(name);
      call.refuse_unless(is_float(x) && x.dim() == 4 && x.is_contiguous(), "contiguous values of 4 dimensions");
      call.refuse_unless(x.scalar_type() == call.tensor("query").scalar_type(), "q, k and v of one type");
    }
    q = heads_first("query"), k = heads_first("key"), v = heads_first("value");
    type = call.tensor("query").scalar_type();
    heads = q.size(1), kv_heads = k.size(1);
    call.refuse_unless(call.integer("head_num") == heads && heads <= 256 && heads % kv_heads == 0, "N query heads");
    call.refuse_unless(k.sizes() == v.sizes() && k.size(3) == q.size(3) && q.size(3) <= 768, "one D up to 768");
    call.refuse_unless(q.size(0) == k.size(0), "one B");
    call.refuse_unless(call.at("keep_prob").toDouble() == 1.0, "no dropout, in these tests");
    for (const char* absent : {"padding_mask", "prefix", "actual_seq_qlen", "actual_seq_kvlen", "sink"}) {
      call.refuse_unless(call.at(absent).isNone(), std::string("no ") + absent);
    }
    call.refuse_unless(call.integer("inner_precise") == 0 && call.at("softmax_layout").toStringRef().empty(),
                       "defaults");
  }

  // mask(scale · (q kᵀ + pse)): (B, N, Sq, Sk)
  Tensor scores() const {
    Tensor out = at::matmul(q, spread(k).transpose(2, 3));
    if (const auto pse = call_.maybe("pse")) {
      call_.refuse_unless(pse->scalar_type() == type && pse->is_contiguous() && pse->dim() == 4,
                          "pse of the type of q");
      const auto fits = [&](int64_t samples, int64_t rows) {
        return pse->sizes() == at::IntArrayRef{samples, heads, rows, k.size(2)};
      };
      call_.refuse_unless(fits(q.size(0), q.size(2)) || fits(q.size(0), 1) || fits(1, q.size(2)),
                          "pse BNSS, BN1S, 1NSS");
      call_.refuse_unless(pse->isfinite().all().item<bool>(), "a finite pse");
      out = out + pse->to(at::kFloat);
    }
    out = out * scale_;
    const Tensor hidden = hidden_keys();
    return hidden.defined() ? out.masked_fill(hidden, -std::numeric_limits<float>::max()) : out;
  }
  // Of the key's or value's heads, one for each query head.
  Tensor spread(const Tensor& x) const { return x.repeat_interleave(heads / kv_heads, 1); }
  // The sum over the query heads of a key's head.
  Tensor gathered(const Tensor& x) const { return x.unflatten(1, {kv_heads, heads / kv_heads}).sum({2}); }
  Tensor heads_first(const std::string& name) const { return in_order(call_.tensor(name)).to(at::kFloat); }
  // Back to the layout and type of the inputs.
  Tensor laid_out(const Tensor& x) const { return in_order(x).contiguous().to(type); }

  Tensor q, k, v;
  at::ScalarType type = at::kFloat;
  int64_t heads = 0, kv_heads = 0;

 private:
  Tensor in_order(const Tensor& x) const { return layout_ == "BNSD" ? x : x.transpose(1, 2); }
  Tensor hidden_keys() const {
    const auto mask = call_.maybe("atten_mask");
    const int64_t mode = call_.integer("sparse_mode");
    if (!mask) return {};  // then sparse_mode has no effect
    call_.refuse_unless(mask->scalar_type() == at::kBool && mask->is_contiguous(), "a mask of bools");
    const int64_t rows = q.size(2), keys = k.size(2);
    if (mode == 2) {
      const Tensor compressed = at::ones({2048, 2048}, mask->options()).triu(1);
      call_.refuse_unless(mask->sizes() == compressed.sizes() && mask->equal(compressed), "the compressed causal mask");
      return at::ones({rows, keys}, mask->options()).triu(1);
    }
    call_.refuse_unless(mode == 0, "a sparse_mode these tests know");
    const auto fits = [&](int64_t samples, int64_t of_heads) {
      return mask->sizes() == at::IntArrayRef{samples, of_heads, rows, keys};
    };
    call_.refuse_unless(
        fits(q.size(0), heads) || fits(q.size(0), 1) || fits(1, 1) || mask->sizes() == at::IntArrayRef{rows, keys},
        "a mask BNSS, B1SS, 11SS or SS");
    return *mask;
  }

  const Call& call_;
  std::string layout_;
  double scale_;
};

void fusion_attention(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Attention a(call, "scale");
  const Tensor scores = a.scores();
  const Tensor most = scores.amax({-1}, true), weights = at::exp(scores - most), sum = weights.sum({-1}, true);
  const Tensor y = a.laid_out(at::matmul(weights / sum, a.spread(a.v)));
  const auto statistics = [&](const Tensor& x) { return x.expand({-1, -1, -1, kStatistics}).contiguous(); };
  call.give({y, statistics(most), statistics(sum), at::empty({0}, y.options())});
  for (int i = 0; i < 3; ++i) stack->emplace_back(int64_t{0});  // seed, offset, numels
}

// Gradients by the rows' statistics, without the weights of the forward pass.
void fusion_attention_grad(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const Attention a(call, "scale_value");
  const double scale = call.at("scale_value").toDouble();
  const Tensor most = call.tensor("softmax_max"), sum = call.tensor("softmax_sum");
  for (const Tensor& each : {most, sum}) {
    call.refuse_unless(each.scalar_type() == at::kFloat &&
                           each.sizes() == at::IntArrayRef{a.q.size(0), a.heads, a.q.size(2), kStatistics},
                       "statistics (B, N, S, 8) in float32");
  }
  call.refuse_unless(call.tensor("dy").sizes() == call.tensor("query").sizes(), "dy as the query");
  const Tensor weights = at::exp(a.scores() - most.narrow(3, 0, 1)) / sum.narrow(3, 0, 1);  // (B, N, Sq, Sk)
  const Tensor dy = a.heads_first("dy"), y = a.heads_first("attention_in");
  const Tensor dweights = at::matmul(dy, a.spread(a.v).transpose(2, 3));
  const Tensor dscores = weights * (dweights - (dy * y).sum({-1}, true)) * scale;
  const Tensor dq = at::matmul(dscores, a.spread(a.k));
  const Tensor dk = a.gathered(at::matmul(dscores.transpose(2, 3), a.q));
  const Tensor dv = a.gathered(at::matmul(weights.transpose(2, 3), dy));
  const Tensor none = at::empty({0}, dq.options());
  call.give({a.laid_out(dq), a.laid_out(dk), a.laid_out(dv), none, none});
}

// torch_npu generates this from derivatives.yaml: query, key, value: npu_fusion_attention_grad(query, key, value, grad,
// head_num, input_layout, pse, padding_mask, atten_mask, result1, result2, result3, result0, scale, keep_prob,
// pre_tockens, next_tockens, inner_precise, result4, result5, result6, prefix, …).
class FusionAttention : public torch::autograd::Function<FusionAttention> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& query, const Tensor& key, const Tensor& value,
                               const c10::OperatorHandle& op, std::vector<IValue> arguments) {
    Stack stack = arguments;
    {
      const at::AutoDispatchBelowADInplaceOrView below;
      op.callBoxed(stack);
    }
    const variable_list results = {stack[0].toTensor(), stack[1].toTensor(), stack[2].toTensor(), stack[3].toTensor()};
    context->save_for_backward({query, key, value, results[0], results[1], results[2], results[3]});
    for (const char* name :
         {"head_num", "input_layout", "pse", "padding_mask", "atten_mask", "keep_prob", "pre_tockens", "next_tockens",
          "inner_precise", "prefix", "actual_seq_qlen", "actual_seq_kvlen", "sparse_mode", "gen_mask_parallel", "sync",
          "softmax_layout", "sink"}) {
      context->saved_data[name] = arguments[static_cast<size_t>(*op.schema().argumentIndexWithName(name))];
    }
    context->saved_data["scale_value"] = arguments[static_cast<size_t>(*op.schema().argumentIndexWithName("scale"))];
    return results;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("npu::npu_fusion_attention_grad", "");
    Stack stack = {saved[0], saved[1], saved[2], grads[0]};
    for (size_t i = stack.size(); i < op.schema().arguments().size(); ++i) {
      const c10::Argument& argument = op.schema().arguments()[i];
      const std::string& name = argument.name();
      if (name == "attention_in") {
        stack.emplace_back(saved[3]);
      } else if (name == "softmax_max" || name == "softmax_sum" || name == "softmax_in") {
        stack.emplace_back(saved[name == "softmax_max" ? 4 : name == "softmax_sum" ? 5 : 6]);
      } else if (const auto found = context->saved_data.find(name); found != context->saved_data.end()) {
        stack.push_back(found->second);
      } else {
        stack.push_back(*argument.default_value());
      }
    }
    op.callBoxed(stack);
    return {stack[0].toTensor(), stack[1].toTensor(), stack[2].toTensor(), {}, {}};
  }
};

void fusion_attention_with_history(const c10::OperatorHandle& op, Stack* stack) {
  const size_t count = op.schema().arguments().size();
  std::vector<IValue> arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  torch::jit::drop(*stack, count);
  const variable_list results =
      FusionAttention::apply(arguments[0].toTensor(), arguments[1].toTensor(), arguments[2].toTensor(), op, arguments);
  for (const Tensor& result : results) stack->emplace_back(result);
  for (int i = 0; i < 3; ++i) stack->emplace_back(int64_t{0});
}

// aclnnApplyAdamWV2 for each parameter, which counts updates from 0, so that the step is taken off and added again;
// grad_scale and found_inf are not looked at (op_plugin/ops/opapi/FusedAdamWKernelNpuOpApi.cpp).
void fused_adam_w(const c10::OperatorHandle& op, Stack* stack) {
  const Call call(op, stack);
  const auto list = [&](const char* name) { return call.at(name).toTensorVector(); };
  const auto self = list("self"), grads = list("grads"), exp_avgs = list("exp_avgs"), squares = list("exp_avg_sqs");
  const auto steps = list("state_steps");
  call.refuse_unless(self.size() == grads.size() && self.size() == exp_avgs.size() && self.size() == squares.size() &&
                         self.size() == steps.size() && list("max_exp_avg_sqs").empty(),
                     "lists of one length, without amsgrad");
  const auto number = [&](const char* name) { return static_cast<float>(call.at(name).toDouble()); };
  const float lr = number("lr"), beta1 = number("beta1"), beta2 = number("beta2");
  call.refuse_unless(!call.at("amsgrad").toBool() && !call.at("maximize").toBool(), "no variant");
  for (size_t i = 0; i < self.size(); ++i) {
    for (const Tensor& each : {self[i], grads[i], exp_avgs[i], squares[i]}) {
      call.refuse_unless(each.device().is_privateuseone() && is_float(each) && each.sizes() == self[i].sizes(),
                         "tensors of one shape on the device");
    }
    call.refuse_unless(steps[i].device().is_privateuseone() && steps[i].numel() == 1 &&
                           (steps[i].scalar_type() == at::kFloat || steps[i].scalar_type() == at::kLong),
                       "a step of one float32 or int64");
    const float step = (steps[i] - 1).to(at::kFloat).item<float>() + 1;
    self[i].mul_(1 - lr * number("weight_decay"));
    exp_avgs[i].mul_(beta1).add_(grads[i], 1 - beta1);
    squares[i].mul_(beta2).addcmul_(grads[i], grads[i], 1 - beta2);
    const Tensor root = (squares[i] / (1 - std::pow(beta2, step))).sqrt() + number("eps");
    self[i].sub_(exp_avgs[i] / (1 - std::pow(beta1, step)) / root * lr);
  }
  call.give({});
}

}  // namespace

void define_training_operators(torch::Library& npu) {
  npu.def(
      "npu_fusion_attention(Tensor query, Tensor key, Tensor value, int head_num, str input_layout, Tensor? pse=None, "
      "Tensor? padding_mask=None, Tensor? atten_mask=None, float scale=1., float keep_prob=1., int "
      "pre_tockens=2147483647, int next_tockens=2147483647, int inner_precise=0, int[]? prefix=None, int[]? "
      "actual_seq_qlen=None, int[]? actual_seq_kvlen=None, int sparse_mode=0, bool gen_mask_parallel=True, bool "
      "sync=False, str softmax_layout=\"\", Tensor? sink=None, Tensor? dropout_mask=None, int seed=0, int offset=0) -> "
      "(Tensor, Tensor, Tensor, Tensor, int, int, int)");
  npu.impl("npu_fusion_attention", c10::DispatchKey::PrivateUse1, kernel<&fusion_attention>());
  npu.impl("npu_fusion_attention", c10::DispatchKey::AutogradPrivateUse1, kernel<&fusion_attention_with_history>());
  npu.def(
      "npu_fusion_attention_grad(Tensor query, Tensor key, Tensor value, Tensor dy, int head_num, str input_layout, *, "
      "Tensor? pse=None, Tensor? padding_mask=None, Tensor? atten_mask=None, Tensor? softmax_max=None, Tensor? "
      "softmax_sum=None, Tensor? softmax_in=None, Tensor? attention_in=None, float scale_value=1., float keep_prob=1., "
      "int pre_tockens=2147483647, int next_tockens=2147483647, int inner_precise=0, int seed=0, int offset=0, int "
      "numels=0, int[]? prefix=None, int[]? actual_seq_qlen=None, int[]? actual_seq_kvlen=None, int sparse_mode=0, "
      "bool "
      "gen_mask_parallel=True, bool sync=False, str softmax_layout=\"\", Tensor? sink=None) -> (Tensor, Tensor, "
      "Tensor, "
      "Tensor, Tensor)");
  npu.impl("npu_fusion_attention_grad", c10::DispatchKey::PrivateUse1, kernel<&fusion_attention_grad>());
}

std::unique_ptr<torch::Library> vendor_kernels_of_libtorch() {
  auto aten =
      std::make_unique<torch::Library>(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  aten->impl("_fused_adamw_", kernel<&fused_adam_w>());
  return aten;
}

}  // namespace emulated_npu
