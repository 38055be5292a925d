#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "kernels/attention.h"
#include "models/ar/config.h"
#include "models/ar/kv_cache.h"
#include "models/ar/mrope.h"
#include "models/layers/layers.h"
#include "models/layers/sequence_parallel.h"

namespace glmimage {

// What attention may look at besides the tokens at hand.
struct ArContext {
  std::optional<at::Tensor> bias;                 // (B, 1, Tq, Tk), added to the scores; unset: causal
  KvCache* cache = nullptr;                       // read and extended when given
  const std::vector<KvCache*>* caches = nullptr;  // of requests drawn together: one a row, continued by one token
  const SequenceParallel* sequence = nullptr;     // set: the tokens at hand are this process's part; without a cache
};

// Causal grouped-query attention with partial multi-axis rope.
struct ArAttention {
  explicit ArAttention(const ArConfig& config);
  void list(ParameterList& list, const std::string& prefix, double init_std);
  // x (B, T, D) -> (B, T, D). With a cache: T = 1 continues it, T > 1 fills an empty one.
  at::Tensor operator()(const at::Tensor& x, const Rope& rope, const ArContext& context, int64_t layer) const;
  // Joins q, k and v into one matrix for inference; the three become views of it, so names and values stay. Parts with
  // an adapter's branch stay apart. After a weight was replaced the joined matrix is not used until the next fuse().
  void fuse();

  int64_t heads, kv_heads, head_dim;
  Linear q, k, v, output;
  Linear qkv;  // the three, one behind the other: without a weight before fuse(), and not in list()

 private:
  struct Projected {
    at::Tensor q, k, v;  // (B, T, Hq | Hkv, hd), q and k turned
  };
  bool adapted() const { return q.adapted() || k.adapted() || v.adapted(); }
  bool fused() const;                             // the joined matrix is there and is what the three parts say
  bool worth_joining(const at::Tensor& x) const;  // anew for every product, while they are trained
  Projected project(const at::Tensor& x, const Rope& rope) const;
  at::Tensor attend_divided(const Projected& p, const SequenceParallel& sequence,
                            const kernels::AttentionOptions& options) const;
  at::Tensor attend_prompt(const Projected& p, const ArContext& context) const;                 // -> (B, T, Hq·hd)
  at::Tensor attend_cached(const Projected& p, const ArContext& context, int64_t layer) const;  // -> (B, 1, Hq·hd)
  at::Tensor attend_each(const Projected& p, const std::vector<KvCache*>& caches, int64_t layer) const;  // the same
};

// down(up · silu(gate)), gate and up in one matrix.
struct ArMlp {
  explicit ArMlp(const ArConfig& config);
  void list(ParameterList& list, const std::string& prefix, double init_std);
  at::Tensor operator()(const at::Tensor& x) const;  // (B, T, D) -> (B, T, D)

  Linear gate_up, down;
};

// A layer with four norms, one before and one after each half. The members say what they do; the checkpoint's
// `post_attention_layernorm` is `mlp_input_norm`.
struct ArLayer {
  explicit ArLayer(const ArConfig& config);
  void list(ParameterList& list, const std::string& prefix, double init_std);
  at::Tensor operator()(const at::Tensor& x, const Rope& rope, const ArContext& context, int64_t layer) const;

  RmsNorm attention_input_norm, attention_output_norm, mlp_input_norm, mlp_output_norm;
  ArAttention attention;
  ArMlp mlp;
};

}  // namespace glmimage
