#include "train/distributed/sequence_parallel.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"

namespace glmimage::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

enum class Turn : int64_t { to_heads, to_tokens, gather };

// An exchange and its gradient, which goes the other way. The gradient of what all processes gather is the sum of
// theirs; as all make the same loss of it, that is one's own, times their number.
struct Exchange : torch::autograd::Function<Exchange> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const SequenceGroup* group, Turn turn) {
    context->saved_data["group"] = reinterpret_cast<int64_t>(group);
    context->saved_data["turn"] = static_cast<int64_t>(turn);
    switch (turn) {
      case Turn::to_heads: return group->turn_to_heads(x);
      case Turn::to_tokens: return group->turn_to_tokens(x);
      case Turn::gather: break;
    }
    return group->gather(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto* group = reinterpret_cast<const SequenceGroup*>(context->saved_data["group"].toInt());
    const at::Tensor& grad = grads[0];
    at::Tensor out;
    switch (static_cast<Turn>(context->saved_data["turn"].toInt())) {
      case Turn::to_heads: out = group->turn_to_tokens(grad); break;
      case Turn::to_tokens: out = group->turn_to_heads(grad); break;
      case Turn::gather: out = group->own_part(grad, 1) * group->size(); break;
    }
    return {out, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

// (P, …), part r for rank r -> (P, …), part r from rank r.
at::Tensor SequenceGroup::exchange(const at::Tensor& parts) const {
  const at::Tensor sent = parts.contiguous(), received = at::empty_like(sent);
  group_->all_to_all(received, sent, "the others' part of an attention").wait();
  return received;
}

at::Tensor SequenceGroup::turn_to_heads(const at::Tensor& x) const {
  const int64_t parts = size(), batch = x.size(0), tokens = x.size(1), heads = x.size(2), dim = x.size(3);
  const at::Tensor by_rank = x.reshape({batch, tokens, parts, heads / parts, dim}).permute({2, 0, 1, 3, 4});
  return exchange(by_rank)       // (P, B, T/P, H/P, hd)
      .permute({1, 0, 2, 3, 4})  // (B, P, T/P, H/P, hd)
      .reshape({batch, parts * tokens, heads / parts, dim});
}

at::Tensor SequenceGroup::turn_to_tokens(const at::Tensor& x) const {
  const int64_t parts = size(), batch = x.size(0), tokens = x.size(1), heads = x.size(2), dim = x.size(3);
  const at::Tensor by_rank = x.reshape({batch, parts, tokens / parts, heads, dim}).permute({1, 0, 2, 3, 4});
  return exchange(by_rank)       // (P, B, T/P, H/P, hd)
      .permute({1, 2, 0, 3, 4})  // (B, T/P, P, H/P, hd)
      .reshape({batch, tokens / parts, parts * heads, dim});
}

at::Tensor SequenceGroup::gather(const at::Tensor& x) const {
  const at::Tensor own = x.contiguous();  // (B, T/P, D)
  const at::Tensor all = at::empty({size() * own.numel()}, own.options());
  group_->all_gather(all, own.view({-1}), "the others' tokens").wait();
  return all.view({size(), own.size(0), own.size(1), own.size(2)})
      .permute({1, 0, 2, 3})
      .reshape({own.size(0), size() * own.size(1), own.size(2)});
}

at::Tensor SequenceGroup::to_heads(const at::Tensor& x) const { return Exchange::apply(x, this, Turn::to_heads); }
at::Tensor SequenceGroup::to_tokens(const at::Tensor& x) const { return Exchange::apply(x, this, Turn::to_tokens); }
at::Tensor SequenceGroup::gather_tokens(const at::Tensor& x) const { return Exchange::apply(x, this, Turn::gather); }

std::unique_ptr<SequenceGroup> share_sequences(const std::shared_ptr<ProcessGroup>& group, int64_t parts,
                                               const AttentionHeads& heads) {
  if (parts == 1) return nullptr;
  const std::string setting = concat("distributed.sequence_parallel=", parts);
  if (!group) fail(ErrorKind::usage, setting, " needs as many processes, and this one trains alone");
  if (group->size() % parts != 0) {
    fail(ErrorKind::usage, setting, " does not divide the ", group->size(), " processes");
  }
  if (heads.query % parts != 0) {
    fail(ErrorKind::usage, setting, " does not divide the ", heads.query, " heads of the ", heads.model);
  }
  if (heads.key_value % parts != 0 && parts % heads.key_value != 0) {
    fail(ErrorKind::usage, setting, " neither divides the ", heads.key_value, " heads of keys and values of the ",
         heads.model, " nor is a multiple of them");
  }
  return std::make_unique<SequenceGroup>(parts == group->size() ? group : group->neighbours(parts));
}

}  // namespace glmimage::train
