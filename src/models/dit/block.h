#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/parameters.h"
#include "models/dit/rope.h"
#include "models/layers/layers.h"
#include "models/layers/recompute.h"
#include "models/layers/sequence_parallel.h"

namespace glmimage {

enum class Activation { gelu, gelu_tanh, silu };

// Linear -> activation -> Linear, named as diffusers' FeedForward: net.0.proj and net.2.
struct FeedForward {
  FeedForward() = default;
  FeedForward(int64_t in, int64_t inner, int64_t out, Activation activation)
      : activation(activation), proj_in(in, inner, Bias::yes), proj_out(inner, out, Bias::yes) {}
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;  // (…, in) -> (…, out)

  Activation activation = Activation::gelu;
  Linear proj_in, proj_out;
};

// Keys (after norm and rope) and values of one block, kept between passes.
struct KeyValue {
  at::Tensor k, v;  // (B, S, heads, head_dim)
};

// The two token streams a block transforms.
struct DitStreams {
  at::Tensor image;   // (B, N, D)
  at::Tensor glyphs;  // (B, G, D), G may be 0
};

// What attention needs besides the streams.
struct DitAttention {
  DitRope rope;         // over the G + N tokens
  at::Tensor key_bias;  // (B, 1, 1, S + G + N), -inf at keys that are padding; undefined: every key counts
  const KeyValue* references = nullptr;  // read: S more keys and values in front, (1 or B, S, heads, head_dim)
  KeyValue* written = nullptr;           // write: receives this pass's keys and values
  // Set: streams, rope, references and what is written are those of this process's tokens; key_bias is of all.
  const SequenceParallel* sequence = nullptr;
};

// What becomes of the glyph stream after a block. Nobody reads the last block's.
enum class GlyphOutput { keep, drop };

// One transformer block: joint attention over [glyphs ; image] and a feed-forward shared by both streams, each stream
// with its own shift, scale and gate out of norm1. Reference: diffusers, GlmImageTransformerBlock.
struct DitBlock {
  DitBlock() = default;
  DitBlock(int64_t heads, int64_t head_dim, int64_t time_dim);
  void list(ParameterList& list, const std::string& prefix);

  // e (B, T): the conditioning vector. GlyphOutput::drop leaves the result's glyphs undefined.
  DitStreams operator()(const DitStreams& h, const at::Tensor& e, const DitAttention& context,
                        GlyphOutput output = GlyphOutput::keep) const;
  // The same, kept or computed again in the backward pass.
  DitStreams run(const DitStreams& h, const at::Tensor& e, const DitAttention& context, GlyphOutput output,
                 Activations activations) const;
  // The keys and values alone: all that a pass over references needs of the last block.
  KeyValue keys_and_values(const DitStreams& h, const at::Tensor& e, const DitAttention& context) const;

  int64_t heads = 0, head_dim = 0;
  Linear norm1;  // "norm1.linear": e -> 12 modulations
  Linear to_q, to_k, to_v, to_out;
  FeedForward ff;

 private:
  at::Tensor normed_heads(const Linear& projection, const at::Tensor& x, const DitRope& rope) const;
  KeyValue project(const at::Tensor& joint, const DitRope& rope) const;
  at::Tensor attend(const at::Tensor& joint, const DitAttention& context, int64_t first_query) const;
};

}  // namespace glmimage
