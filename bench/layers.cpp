#include "bench/layers.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "core/error.h"
#include "core/parameters.h"
#include "core/rng.h"
#include "kernels/linear.h"
#include "models/ar/model.h"
#include "models/dit/block.h"
#include "models/dit/rope.h"
#include "models/vae/vae.h"

namespace glmimage::bench {
namespace {

// Not init_parameters: modulations that begin at zero would multiply everything by zero.
void fill(const ParameterList& list, at::ScalarType dtype) {
  constexpr double kSpread = 0.02;
  at::Generator generator = make_generator(1);
  for (const Parameter& p : list) {
    *p.tensor = p.init.kind == Init::Kind::ones
                    ? at::ones(p.shape, dtype)
                    : at::randn(p.shape, generator, at::TensorOptions(at::kFloat)).mul_(kSpread).to(dtype);
    if (p.scale) *p.scale = at::Tensor();
  }
}

at::Tensor noise(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, make_generator(2), at::TensorOptions(at::kFloat)).to(dtype);
}

ArConfig one_ar_layer(const LayerSizes& sizes) {
  constexpr int64_t kVocabulary = 256;  // the table and the head are no part of the layer
  ArConfig config;
  config.vocab_size = config.visual_vocab_size = config.codebook_size = kVocabulary;
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

VaeConfig vae_config(const LayerSizes& sizes) {
  VaeConfig config;
  config.widths = sizes.vae_widths;
  config.layers_per_block = sizes.vae_layers;
  config.latent_channels = 16;
  config.norm_groups = sizes.vae_groups;
  config.sample_size = 1024;
  config.latents_mean.assign(16, 0.0);
  config.latents_std.assign(16, 1.0);
  return config;
}

// Matrices of the layer alone, in groups of 64 (or of a row, where it is shorter).
void quantise_layer(const ParameterList& list, int64_t bits) {
  for (const Parameter& p : list) {
    if (!p.scale || p.name.find(".layers.") == std::string::npos) continue;
    const kernels::Quantised few = kernels::quantise(*p.tensor, bits, p.shape[1] % 64 == 0 ? 64 : 0);
    *p.tensor = few.q;
    *p.scale = few.scale;
  }
}

int64_t layer_bytes(const ParameterList& list) {
  int64_t bytes = 0;
  for (const Parameter& p : list) {
    if (p.name.find(".layers.") != std::string::npos) bytes += p.bytes();
  }
  return bytes;
}

// Prompt and one token of a model of one layer; `format` of its weights, empty: as they were loaded.
void bench_ar_model(Report& report, ArModel& model, const std::string& format, const LayerSizes& sizes,
                    Repeats repeats) {
  const std::string ending = format.empty() ? "" : "_" + format, remark = format.empty() ? "" : ", " + format;
  const at::Tensor& like = model.embed_tokens.weight;
  const at::ScalarType dtype = like.scalar_type();
  const at::Tensor prompt = noise({1, sizes.prompt_tokens, sizes.ar_width}, dtype);  // (1, T, D)
  report.add(concat("ar_layer.prefill_", sizes.prompt_tokens, ending),
             concat("AR layer, prefill of ", sizes.prompt_tokens, " tokens", remark), time_runs(repeats, [&] {
               KvCache cache(model.config, 1, sizes.prompt_tokens, like);
               model.prefill(prompt, model.rope(text_positions(0, sizes.prompt_tokens)), cache);
             }));

  // A step is short, so more of them; each leaves its token in the cache, as in a request.
  repeats = {.warm_up = 4 * repeats.warm_up, .measured = 4 * repeats.measured};
  const int64_t steps = repeats.warm_up + repeats.measured;
  KvCache cache(model.config, 1, sizes.cached_tokens + steps, like);
  const at::Tensor past = noise({1, sizes.cached_tokens, sizes.ar_width}, dtype);  // (1, T, D)
  model.prefill(past, model.rope(text_positions(0, sizes.cached_tokens)), cache);
  const Rope rope = model.rope(text_positions(sizes.cached_tokens, steps));
  const at::Tensor token = noise({1, 1, sizes.ar_width}, dtype);  // (1, 1, D)
  int64_t next = 0;
  const std::string key = concat("ar_layer.decode_", sizes.cached_tokens, ending);
  report.add(key, concat("AR layer, one token after ", sizes.cached_tokens, remark),
             time_runs(repeats, [&] { model.decode(token, rope.at(next++), cache); }));
  ParameterList parameters;
  model.list(parameters);
  report.set(key, "bytes", layer_bytes(parameters));
}

}  // namespace

LayerSizes LayerSizes::quick() {
  return {.ar_width = 64,
          .ar_feed_forward = 96,
          .ar_heads = 4,
          .ar_kv_heads = 2,
          .prompt_tokens = 32,
          .cached_tokens = 40,
          .dit_heads = 2,
          .dit_head_dim = 16,
          .time_dim = 16,
          .dit_grids = {4, 8},
          .vae_widths = {8, 16, 16, 16},
          .vae_layers = 1,
          .vae_groups = 4,
          .picture_sides = {32, 64}};
}

void bench_ar_layer(Report& report, const LayerSizes& sizes, at::ScalarType dtype, Repeats repeats) {
  const c10::InferenceMode inference;
  ArModel model(one_ar_layer(sizes));
  ParameterList parameters;
  model.list(parameters);
  fill(parameters, dtype);
  model.fuse();
  bench_ar_model(report, model, "", sizes, repeats);
  for (const int64_t bits : {8, 4}) {
    fill(parameters, dtype);
    quantise_layer(parameters, bits);
    model.fuse();
    bench_ar_model(report, model, concat("int", bits), sizes, repeats);
  }
}

void bench_dit_layer(Report& report, const LayerSizes& sizes, at::ScalarType dtype, Repeats repeats) {
  const c10::InferenceMode inference;
  DitBlock block(sizes.dit_heads, sizes.dit_head_dim, sizes.time_dim);
  ParameterList parameters;
  block.list(parameters, "block");
  fill(parameters, dtype);
  const int64_t width = sizes.dit_heads * sizes.dit_head_dim;
  const at::Tensor e = noise({1, sizes.time_dim}, dtype);  // (1, T)
  for (const int64_t side : sizes.dit_grids) {
    const DitStreams streams = {noise({1, side * side, width}, dtype), noise({1, sizes.glyph_tokens, width}, dtype)};
    DitAttention attention;
    attention.rope = dit_rope({side, side}, sizes.dit_head_dim, sizes.glyph_tokens, at::kCPU);
    report.add(concat("dit_layer.step_", side * side),
               concat("DiT layer, ", side * side, " image and ", sizes.glyph_tokens, " glyph tokens"),
               time_runs(repeats, [&] { block(streams, e, attention); }));
  }
}

void bench_vae_decoder(Report& report, const LayerSizes& sizes, at::ScalarType dtype, Repeats repeats) {
  const c10::InferenceMode inference;
  Vae vae(vae_config(sizes));
  ParameterList parameters;
  vae.list(parameters);
  fill(parameters, dtype);
  for (const int64_t side : sizes.picture_sides) {
    const int64_t latents_side = side / vae.config.scale();
    const at::Tensor latents = noise({1, vae.config.latent_channels, latents_side, latents_side}, dtype);
    report.add(concat("vae.decode_", side), concat("VAE decoder, ", side, " x ", side, " pixels"),
               time_runs(repeats, [&] { vae.decode(latents); }));
  }
}

}  // namespace glmimage::bench
