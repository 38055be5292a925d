#include "models/dit/block.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/silu.h>

#include <vector>

#include "kernels/attention.h"
#include "kernels/gelu.h"
#include "kernels/modulation.h"
#include "kernels/rope.h"
#include "models/dit/init.h"

namespace glmimage {
namespace {

constexpr double kNormEps = 1e-5;

// The twelve pieces of norm1 in the checkpoint's order, each (B, 1, D); c_ marks the glyph stream's.
struct Modulation {
  at::Tensor shift_msa, c_shift_msa, scale_msa, c_scale_msa, gate_msa, c_gate_msa;
  at::Tensor shift_mlp, c_shift_mlp, scale_mlp, c_scale_mlp, gate_mlp, c_gate_mlp;
};

Modulation modulation(const Linear& norm1, const at::Tensor& e) {
  const std::vector<at::Tensor> m = norm1(e).unsqueeze(1).chunk(12, -1);
  return {m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10], m[11]};
}

at::Tensor attention_input(const DitStreams& h, const Modulation& m) {
  return kernels::modulated_norm({h.glyphs, m.c_shift_msa, m.c_scale_msa}, {h.image, m.shift_msa, m.scale_msa},
                                 kNormEps);  // (B, G + N, D)
}

// References in front of this pass's keys or values.
at::Tensor behind(const at::Tensor& cached, const at::Tensor& current) {
  return at::cat({cached.expand({current.size(0), -1, -1, -1}), current}, 1);
}

}  // namespace

void FeedForward::list(ParameterList& list, const std::string& prefix) {
  proj_in.list(list, prefix + ".net.0.proj", balanced_std(proj_in));
  proj_out.list(list, prefix + ".net.2", balanced_std(proj_out));
}

at::Tensor FeedForward::operator()(const at::Tensor& x) const {
  const at::Tensor inner = proj_in(x);  // (…, inner)
  switch (activation) {
    case Activation::gelu: return proj_out(at::gelu(inner));
    case Activation::gelu_tanh: return proj_out(kernels::gelu_tanh(inner));
    case Activation::silu: break;
  }
  return proj_out(at::silu(inner));
}

DitBlock::DitBlock(int64_t heads, int64_t head_dim, int64_t time_dim)
    : heads(heads), head_dim(head_dim), norm1(time_dim, 12 * heads * head_dim, Bias::yes) {
  const int64_t width = heads * head_dim;
  to_q = to_k = to_v = to_out = Linear(width, width, Bias::yes);
  ff = FeedForward(width, 4 * width, width, Activation::gelu_tanh);
}

void DitBlock::list(ParameterList& list, const std::string& prefix) {
  norm1.list(list, prefix + ".norm1.linear", kZeroStd);
  to_q.list(list, prefix + ".attn1.to_q", balanced_std(to_q));
  to_k.list(list, prefix + ".attn1.to_k", balanced_std(to_k));
  to_v.list(list, prefix + ".attn1.to_v", balanced_std(to_v));
  to_out.list(list, prefix + ".attn1.to_out.0", balanced_std(to_out));
  ff.list(list, prefix + ".ff");
}

at::Tensor DitBlock::normed_heads(const Linear& projection, const at::Tensor& x, const DitRope& rope) const {
  const at::Tensor split = projection(x).unflatten(-1, {heads, head_dim});  // (B, tokens, heads, head_dim)
  return kernels::normed_rope(split, kNormEps, rope.cos, rope.sin);
}

KeyValue DitBlock::project(const at::Tensor& joint, const DitRope& rope) const {
  return {normed_heads(to_k, joint, rope), to_v(joint).unflatten(-1, {heads, head_dim})};
}

KeyValue DitBlock::keys_and_values(const DitStreams& h, const at::Tensor& e, const DitAttention& context) const {
  return project(attention_input(h, modulation(norm1, e)), context.rope);
}

// Attention of the tokens from first_query on over all of them -> (B, queries, D).
at::Tensor DitBlock::attend(const at::Tensor& joint, const DitAttention& context, int64_t first_query) const {
  KeyValue kv = project(joint, context.rope);  // (B, G + N, heads, head_dim)
  if (context.written) *context.written = kv;
  const auto heads_of = [&](const at::Tensor& x) { return context.sequence ? context.sequence->to_heads(x) : x; };
  kv = {heads_of(kv.k), heads_of(kv.v)};
  if (context.references) {
    kv = {behind(heads_of(context.references->k), kv.k), behind(heads_of(context.references->v), kv.v)};
  }

  const int64_t queries = joint.size(1) - first_query;
  const DitRope turn = {context.rope.cos.narrow(0, first_query, queries),
                        context.rope.sin.narrow(0, first_query, queries)};
  const at::Tensor q =
      heads_of(normed_heads(to_q, joint.narrow(1, first_query, queries), turn));  // (B, queries, heads, head_dim)
  kernels::AttentionOptions options;
  if (context.key_bias.defined()) options.bias = context.key_bias;
  const at::Tensor mixed = kernels::attention(q.transpose(1, 2), kv.k.transpose(1, 2), kv.v.transpose(1, 2), options);
  const at::Tensor by_token = mixed.transpose(1, 2);
  return to_out((context.sequence ? context.sequence->to_tokens(by_token) : by_token).flatten(2));
}

DitStreams DitBlock::operator()(const DitStreams& h, const at::Tensor& e, const DitAttention& context,
                                GlyphOutput output) const {
  const Modulation m = modulation(norm1, e);
  const int64_t all_glyphs = h.glyphs.size(1);
  const int64_t g = output == GlyphOutput::keep ? all_glyphs : 0;  // glyph tokens that live on

  const at::Tensor a = attend(attention_input(h, m), context, all_glyphs - g);  // (B, g + N, D)
  if (g == 0) {
    const at::Tensor x = kernels::gated_residual({h.image, m.gate_msa}, a);  // (B, N, D)
    const at::Tensor f = ff(kernels::modulated_norm({x, m.shift_mlp, m.scale_mlp}, kNormEps));
    return {kernels::gated_residual({x, m.gate_mlp}, f), output == GlyphOutput::keep ? h.glyphs : at::Tensor()};
  }
  const auto [c, x] = kernels::gated_residual({h.glyphs, m.c_gate_msa}, {h.image, m.gate_msa}, a);
  const at::Tensor f = ff(kernels::modulated_norm({c, m.c_shift_mlp, m.c_scale_mlp}, {x, m.shift_mlp, m.scale_mlp},
                                                  kNormEps));  // (B, G + N, D): both streams, weights read once
  const auto [glyphs, image] = kernels::gated_residual({c, m.c_gate_mlp}, {x, m.gate_mlp}, f);
  return {image, glyphs};
}

// The streams, the conditioning and the references' keys and values carry gradients: they are the block's inputs.
DitStreams DitBlock::run(const DitStreams& h, const at::Tensor& e, const DitAttention& context, GlyphOutput output,
                         Activations activations) const {
  if (activations == Activations::keep) return (*this)(h, e, context, output);
  std::vector<at::Tensor> inputs = {h.image, h.glyphs, e};
  if (context.references) inputs.insert(inputs.end(), {context.references->k, context.references->v});
  const Block block = [this, rope = context.rope, key_bias = context.key_bias, sequence = context.sequence, output,
                       writes = context.written != nullptr](const std::vector<at::Tensor>& in) {
    const KeyValue references = in.size() > 3 ? KeyValue{in[3], in[4]} : KeyValue{};
    KeyValue written;
    const DitAttention again = {.rope = rope,
                                .key_bias = key_bias,
                                .references = in.size() > 3 ? &references : nullptr,
                                .written = writes ? &written : nullptr,
                                .sequence = sequence};
    const DitStreams next = (*this)({in[0], in[1]}, in[2], again, output);
    std::vector<at::Tensor> out = {next.image};
    if (output == GlyphOutput::keep) out.push_back(next.glyphs);
    if (writes) out.insert(out.end(), {written.k, written.v});
    return out;
  };
  const std::vector<at::Tensor> out = run_block(activations, block, inputs);
  if (context.written) *context.written = {out[out.size() - 2], out[out.size() - 1]};
  return {out[0], output == GlyphOutput::keep ? out[1] : at::Tensor()};
}

}  // namespace glmimage
