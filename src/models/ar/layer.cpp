#include "models/ar/layer.h"

#include <ATen/ops/cat.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/attention.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace glmimage {

ArAttention::ArAttention(const ArConfig& c)
    : heads(c.heads),
      kv_heads(c.kv_heads),
      head_dim(c.head_dim),
      q(c.hidden_size, c.heads * c.head_dim, c.attention_bias ? Bias::yes : Bias::none),
      k(c.hidden_size, c.kv_heads * c.head_dim, c.attention_bias ? Bias::yes : Bias::none),
      v(c.hidden_size, c.kv_heads * c.head_dim, c.attention_bias ? Bias::yes : Bias::none),
      output(c.heads * c.head_dim, c.hidden_size, Bias::none) {}

void ArAttention::list(ParameterList& list, const std::string& prefix, double init_std) {
  q.list(list, prefix + ".q_proj", init_std);
  k.list(list, prefix + ".k_proj", init_std);
  v.list(list, prefix + ".v_proj", init_std);
  output.list(list, prefix + ".o_proj", init_std);
}

void ArAttention::fuse() {
  qkv = Linear(q.in, q.out + k.out + v.out, q.has_bias ? Bias::yes : Bias::none);
  const auto alike = [this](const Linear& part) {
    return part.quantised() == q.quantised() && part.weight.scalar_type() == q.weight.scalar_type() &&
           (!q.quantised() ||
            (part.scale.size(1) == q.scale.size(1) && part.scale.scalar_type() == q.scale.scalar_type()));
  };
  if (adapted() || !alike(k) || !alike(v)) return;
  const auto join = [&](at::Tensor Linear::*member) {
    const std::vector<at::Tensor> parts = {q.*member, k.*member, v.*member};
    qkv.*member = at::cat(parts, 0);
    int64_t row = 0;  // of the tensor: a device's form may hold several rows of the matrix in one
    for (Linear* part : {&q, &k, &v}) {
      const int64_t rows = (part->*member).size(0);
      part->*member = (qkv.*member).narrow(0, row, rows);
      row += rows;
    }
  };
  join(&Linear::weight);
  if (q.quantised()) join(&Linear::scale);
  if (q.has_bias) join(&Linear::bias);
}

bool ArAttention::fused() const {
  return qkv.weight.defined() && !adapted() && q.weight.is_alias_of(qkv.weight) && k.weight.is_alias_of(qkv.weight) &&
         v.weight.is_alias_of(qkv.weight);
}

// While learning, the parts are what is updated; joining them for one product pays where there are many more tokens
// than rows to copy.
bool ArAttention::worth_joining(const at::Tensor& x) const {
  return q.weight.requires_grad() && !adapted() && x.size(0) * x.size(1) > 4 * (q.out + k.out + v.out);
}

ArAttention::Projected ArAttention::project(const at::Tensor& x, const Rope& rope) const {
  const int64_t batch = x.size(0), tokens = x.size(1);
  auto split_heads = [&](const at::Tensor& y) { return y.view({batch, tokens, -1, head_dim}); };
  if (fused() || worth_joining(x)) {
    const at::Tensor joined = split_heads(fused() ? qkv(x) : joined_linear(x, {&q, &k, &v}));  // (B, T, Hq + 2·Hkv, hd)
    // Queries and keys turn alike: one pass over both.
    const std::vector<at::Tensor> parts = joined.split_with_sizes({heads + kv_heads, kv_heads}, 2);
    const std::vector<at::Tensor> turned =
        kernels::rope(parts[0], rope.cos, rope.sin).split_with_sizes({heads, kv_heads}, 2);
    return {turned[0], turned[1], parts[1]};
  }
  return {kernels::rope(split_heads(q(x)), rope.cos, rope.sin), kernels::rope(split_heads(k(x)), rope.cos, rope.sin),
          split_heads(v(x))};
}

at::Tensor ArAttention::attend_prompt(const Projected& p, const ArContext& context) const {
  kernels::AttentionOptions options;
  if (context.bias) {
    options.bias = context.bias;
  } else {
    options.mask = kernels::Mask::causal;
  }
  if (context.sequence) return attend_divided(p, *context.sequence, options);
  at::Tensor y =
      kernels::attention(p.q.transpose(1, 2), p.k.transpose(1, 2), p.v.transpose(1, 2), options);  // (B, Hq, T, hd)
  return y.transpose(1, 2).flatten(2);
}

// Where there are fewer KV heads than processes, each gets a copy of the one that its query heads read.
at::Tensor ArAttention::attend_divided(const Projected& p, const SequenceParallel& sequence,
                                       const kernels::AttentionOptions& options) const {
  const int64_t copies = std::max<int64_t>(1, sequence.size() / kv_heads);
  const auto turned = [&](const at::Tensor& x, int64_t times) {  // (B, H/P, T, hd)
    return sequence.to_heads(times > 1 ? x.repeat_interleave(times, 2) : x).transpose(1, 2);
  };
  const at::Tensor y = kernels::attention(turned(p.q, 1), turned(p.k, copies), turned(p.v, copies), options);
  return sequence.to_tokens(y.transpose(1, 2)).flatten(2);
}

at::Tensor ArAttention::attend_cached(const Projected& p, const ArContext& context, int64_t layer) const {
  KvCache& cache = *context.cache;
  const at::Tensor q = p.q.transpose(1, 2), k = p.k.transpose(1, 2), v = p.v.transpose(1, 2);  // (B, H, 1, hd)
  at::Tensor y;                                                                                // (B, Hq, 1, hd)
  if (cache.fill() == Fill::host && !context.bias) {
    y = kernels::attend_next(q, k, v, cache.keys(layer), cache.values(layer), cache.length());
  } else {
    cache.write(layer, k, v);
    kernels::AttentionOptions options;
    options.bias = context.bias;
    if (cache.fill() == Fill::host) options.keys = cache.length() + 1;
    y = kernels::attention(q, cache.keys(layer), cache.values(layer), options);
  }
  return y.reshape({p.q.size(0), 1, heads * head_dim});
}

// Every row over a cache of its own: lengths differ, and nothing is padded.
at::Tensor ArAttention::attend_each(const Projected& p, const std::vector<KvCache*>& caches, int64_t layer) const {
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < caches.size(); ++i) {
    const auto row = [i](const at::Tensor& x) { return x.narrow(0, static_cast<int64_t>(i), 1).transpose(1, 2); };
    const KvCache& cache = *caches[i];
    rows.push_back(kernels::attend_next(row(p.q), row(p.k), row(p.v), cache.keys(layer), cache.values(layer),
                                        cache.length()));  // (1, Hq, 1, hd)
  }
  return at::cat(rows, 0).reshape({p.q.size(0), 1, heads * head_dim});
}

at::Tensor ArAttention::operator()(const at::Tensor& x, const Rope& rope, const ArContext& context,
                                   int64_t layer) const {
  const Projected p = project(x, rope);
  if (context.caches) return output(attend_each(p, *context.caches, layer));
  if (context.cache && context.cache->length() > 0) return output(attend_cached(p, context, layer));
  if (context.cache) context.cache->write(layer, p.k.transpose(1, 2), p.v.transpose(1, 2));
  return output(attend_prompt(p, context));
}

ArMlp::ArMlp(const ArConfig& c)
    : gate_up(c.hidden_size, 2 * c.intermediate_size, Bias::none),
      down(c.intermediate_size, c.hidden_size, Bias::none) {}

void ArMlp::list(ParameterList& list, const std::string& prefix, double init_std) {
  gate_up.list(list, prefix + ".gate_up_proj", init_std);
  down.list(list, prefix + ".down_proj", init_std);
}

at::Tensor ArMlp::operator()(const at::Tensor& x) const { return down(kernels::swiglu(gate_up(x))); }

ArLayer::ArLayer(const ArConfig& c)
    : attention_input_norm(c.hidden_size, c.rms_norm_eps),
      attention_output_norm(c.hidden_size, c.rms_norm_eps),
      mlp_input_norm(c.hidden_size, c.rms_norm_eps),
      mlp_output_norm(c.hidden_size, c.rms_norm_eps),
      attention(c),
      mlp(c) {}

void ArLayer::list(ParameterList& list, const std::string& prefix, double init_std) {
  attention_input_norm.list(list, prefix + ".input_layernorm");
  attention.list(list, prefix + ".self_attn", init_std);
  attention_output_norm.list(list, prefix + ".post_self_attn_layernorm");
  mlp_input_norm.list(list, prefix + ".post_attention_layernorm");
  mlp.list(list, prefix + ".mlp", init_std);
  mlp_output_norm.list(list, prefix + ".post_mlp_layernorm");
}

at::Tensor ArLayer::operator()(const at::Tensor& x, const Rope& rope, const ArContext& context, int64_t layer) const {
  const at::Tensor mixed = attention(attention_input_norm(x), rope, context, layer);  // (B, T, D)
  const auto [y, normed] = add_normed_then_norm(x, mixed, attention_output_norm, mlp_input_norm);
  return add_normed(y, mlp(normed), mlp_output_norm);
}

}  // namespace glmimage
