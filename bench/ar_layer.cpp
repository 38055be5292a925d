#include <ATen/ops/arange.h>
#include <c10/core/InferenceMode.h>

#include "bench/layers.h"
#include "core/error.h"
#include "models/ar/model.h"

namespace glmimage::bench {
namespace {

ArConfig one_ar_layer(const LayerSizes& sizes) {
  ArConfig config;
  config.vocab_size = 256;  // the table is no part of the layer
  config.visual_vocab_size = config.codebook_size = sizes.visual_vocabulary;
  config.hidden_size = sizes.ar_width;
  config.layers = 1;
  config.intermediate_size = sizes.ar_feed_forward;
  config.heads = sizes.ar_heads;
  config.kv_heads = sizes.ar_kv_heads;
  config.head_dim = sizes.ar_width / sizes.ar_heads;
  config.partial_rotary_factor = 0.5;
  const int64_t frequencies = config.rotary_dim() / 2;  // 32 as published: 8, 12, 12
  config.mrope_section = {frequencies / 4, frequencies * 3 / 8, frequencies - frequencies / 4 - frequencies * 3 / 8};
  return config;
}

// (3, 1, count): text counts alike on all axes.
at::Tensor text_positions(int64_t first, int64_t count) {
  return at::arange(first, first + count, at::kLong).expand({3, 1, count});
}

// The layer's own, without table, head and final norm.
ParameterList layer_of(ArModel& model) {
  ParameterList all, layer;
  model.list(all);
  for (const Parameter& p : all) {
    if (p.name.find(".layers.") != std::string::npos) layer.push_back(p);
  }
  return layer;
}

void time_prefill(Report& report, const ArModel& model, const LayerSizes& sizes, const Format& format, int64_t weights,
                  Repeats repeats) {
  const at::Tensor& like = model.embed_tokens.weight;
  const int64_t tokens = sizes.prompt_tokens;
  const at::Tensor prompt = noise({1, tokens, sizes.ar_width}, format);  // (1, T, D)
  const std::string key = concat("ar_layer.prefill_", tokens);
  report.add(key, concat("AR layer, prefill of ", tokens, " tokens"), time_runs(repeats, [&] {
               KvCache cache(model.config, 1, tokens, like);
               model.prefill(prompt, model.rope(text_positions(0, tokens)), cache);
             }));
  report.set(key, "flops", 2 * tokens * weights + 2 * tokens * tokens * sizes.ar_width);  // attention is causal: half
}

// A step is short, so more of them; each leaves its token in the cache, as in a request.
void time_decode(Report& report, const ArModel& model, const LayerSizes& sizes, const Format& format, int64_t bytes,
                 Repeats repeats) {
  const int64_t steps = repeats.runs();
  const at::Tensor& like = model.embed_tokens.weight;
  KvCache cache(model.config, 1, sizes.cached_tokens + steps, like);
  const at::Tensor past = noise({1, sizes.cached_tokens, sizes.ar_width}, format);  // (1, T, D)
  model.prefill(past, model.rope(text_positions(0, sizes.cached_tokens)), cache);
  const Rope rope = model.rope(text_positions(sizes.cached_tokens, steps));
  const at::Tensor token = noise({1, 1, sizes.ar_width}, format);  // (1, 1, D)
  int64_t next = 0;
  const std::string key = concat("ar_layer.decode_", sizes.cached_tokens);
  report.add(key, concat("AR layer, one token after ", sizes.cached_tokens),
             time_runs(repeats, [&] { model.decode(token, rope.at(next++), cache); }));
  report.set(key, "bytes", bytes);
}

}  // namespace

void bench_ar_layer(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  const c10::InferenceMode inference;
  ArModel model(one_ar_layer(sizes));
  ParameterList parameters;
  model.list(parameters);
  fill(parameters, format);
  const ParameterList layer = layer_of(model);
  const int64_t weights = count_elements(layer);
  quantise_layers(layer, format);
  const int64_t bytes = bytes_of(layer);
  model.fuse();

  time_prefill(report, model, sizes, format, weights, repeats);
  repeats.warm_up *= 4;
  repeats.measured *= 4;
  time_decode(report, model, sizes, format, bytes, repeats);
  const at::Tensor hidden = noise({1, 1, sizes.ar_width}, format);  // (1, 1, D)
  report.add("ar_head.scores", concat("AR head, scores of ", sizes.visual_vocabulary, " visual tokens"),
             time_runs(repeats, [&] { model.logits(hidden); }));
  report.set("ar_head.scores", "bytes", static_cast<int64_t>(model.lm_head.weight.nbytes()));
}

}  // namespace glmimage::bench
