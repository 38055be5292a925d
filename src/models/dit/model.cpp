#include "models/dit/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/weight_files.h"
#include "kernels/modulation.h"
#include "models/dit/init.h"
#include "models/dit/sequence.h"
#include "models/layers/device_form.h"

namespace glmimage {
namespace {

constexpr double kNormEps = 1e-5;

// A mask over keys for every row: (batch, tokens) bool.
at::Tensor key_mask(const at::Tensor& mask, int64_t batch, int64_t tokens, at::Device device) {
  if (mask.defined()) return mask.expand({batch, tokens});
  return at::ones({1, 1}, at::TensorOptions().dtype(at::kBool).device(device)).expand({batch, tokens});
}

void check(const DitInput& in, const DitConfig& config) {
  const int64_t p = config.patch_size;
  if (in.latents.dim() != 4 || in.latents.size(1) != config.in_channels || in.latents.size(2) % p != 0 ||
      in.latents.size(3) % p != 0) {
    fail(ErrorKind::internal, "dit: latents of shape ", in.latents.sizes(), ", expected (B, ", config.in_channels, ", ",
         p, "·h, ", p, "·w)");
  }
  if (in.glyphs.dim() != 3 || in.glyphs.size(2) != config.text_dim) {
    fail(ErrorKind::internal, "dit: glyphs of shape ", in.glyphs.sizes(), ", expected (B, G, ", config.text_dim, ")");
  }
  const int64_t h = in.latents.size(2) / p, w = in.latents.size(3) / p;
  if (in.prior_ids.dim() != 2 || in.prior_ids.size(1) != h * w) {
    fail(ErrorKind::internal, "dit: prior ids of shape ", in.prior_ids.sizes(), " for ", h, " x ", w, " image tokens");
  }
}

}  // namespace

DitModel::DitModel(const DitConfig& config)
    : config(config),
      image_projector(config.in_channels * config.patch_size * config.patch_size, config.width(), Bias::yes),
      glyph_projector(config.text_dim, config.width(), config.width(), Activation::gelu),
      prior_token_embedding(config.codes, config.width()),
      prior_projector(config.width(), config.width(), config.width(), Activation::silu),
      time_condition_embed(config.time_dim, config.condition_dim),
      norm_out(config.time_dim, 2 * config.width(), Bias::yes),
      proj_out(config.width(), config.out_channels * config.patch_size * config.patch_size, Bias::yes) {
  for (int64_t i = 0; i < config.layers; ++i) {
    transformer_blocks.emplace_back(config.heads, config.head_dim, config.time_dim);
  }
}

DitModel DitModel::open(const std::filesystem::path& folder, const Placement& placement) {
  DitModel model(DitConfig::from_json(JsonObject::open(folder / "config.json")));
  ParameterList list;
  model.list(list);
  load_parameters(list, WeightFiles::open(folder), placement);
  take_device_form(list);
  return model;
}

void DitModel::list(ParameterList& list) {
  image_projector.list(list, "image_projector.proj", balanced_std(image_projector));
  glyph_projector.list(list, "glyph_projector");
  prior_token_embedding.list(list, "prior_token_embedding", 1.0);
  prior_projector.list(list, "prior_projector");
  time_condition_embed.list(list, "time_condition_embed");
  for (size_t i = 0; i < transformer_blocks.size(); ++i) {
    transformer_blocks[i].list(list, "transformer_blocks." + std::to_string(i));
  }
  norm_out.list(list, "norm_out.linear", kZeroStd);
  proj_out.list(list, "proj_out", kZeroStd);
}

// (B, C, p·h, p·w) -> (B, N, C·p²), channel slowest
at::Tensor DitModel::patchify(const at::Tensor& latents) const {
  const int64_t p = config.patch_size;
  return latents.unflatten(3, {-1, p}).unflatten(2, {-1, p}).permute({0, 2, 4, 1, 3, 5}).flatten(3).flatten(1, 2);
}

DitPrepared DitModel::prepare(const DitInput& whole) const {
  check(whole, config);
  const DitInput in = sequence ? own_tokens(whole, *sequence) : whole;
  const int64_t p = config.patch_size;
  DitPrepared out;
  out.grid = {in.latents.size(2) / p, in.latents.size(3) / p};
  const int64_t g = in.glyphs.size(1);
  out.glyphs = g == 0 ? at::zeros({1, 0, config.width()}, image_projector.bias.options().requires_grad(false))
                      : glyph_projector(in.glyphs.to(dtype()));
  out.glyph_mask = in.glyph_mask;

  at::Tensor rows = prior_token_embedding(in.prior_ids);  // (B or 1, N, D)
  if (in.prior_drop.defined()) {
    at::Tensor keep = in.prior_drop.logical_not().to(rows.scalar_type());  // (B) or (B, N)
    if (keep.dim() == 1) keep = keep.unsqueeze(1);
    rows = rows * keep.unsqueeze(-1);
  }
  out.prior = prior_projector(rows);  // a dropped prior still adds its biases' constant
  out.size = time_condition_embed.embed_size(in.target_size, in.crop);
  out.rope = sequence ? own_rope(out.grid, config.head_dim, g * sequence->size(), device(), *sequence)
                      : dit_rope(out.grid, config.head_dim, g, device());
  return out;
}

at::Tensor DitModel::conditioning(const at::Tensor& timestep, const DitPrepared& prepared) const {
  return time_condition_embed(timestep, prepared.size);
}

DitStreams DitModel::embed(const at::Tensor& latents, const DitPrepared& prepared) const {
  const at::Tensor all = patchify(latents.to(dtype())), patches = sequence ? sequence->own_part(all, 1) : all;
  const at::Tensor image = image_projector(patches) + prepared.prior;  // (B, N, D)
  return {image, prepared.glyphs.expand({image.size(0), -1, -1})};
}

// (batch, 1, 1, S + G + N): 0 at keys that count, -inf at the others; undefined when all count.
at::Tensor DitModel::key_bias(const DitPrepared& prepared, const ReferenceCache* references, int64_t batch) const {
  const bool masked_references = references && references->mask.defined();
  if (!prepared.glyph_mask.defined() && !masked_references) return {};
  // Of several processes each brings its part of the references, of the glyphs and of the image.
  const int64_t processes = sequence ? sequence->size() : 1, glyphs = prepared.glyphs.size(1);
  const at::Tensor mask = prepared.glyph_mask;
  std::vector<at::Tensor> parts;
  for (int64_t r = 0; references && r < processes; ++r) {
    parts.push_back(key_mask(references->mask, batch, references->tokens(), device()));
  }
  for (int64_t r = 0; r < processes; ++r) {
    parts.push_back(key_mask(mask.defined() ? mask.narrow(1, r * glyphs, glyphs) : mask, batch, glyphs, device()));
    parts.push_back(key_mask({}, batch, prepared.grid.count() / processes, device()));
  }
  const at::Tensor padding = at::cat(parts, 1).logical_not();  // (batch, S + G + N)
  const auto options = image_projector.bias.options().requires_grad(false);
  return at::zeros(padding.sizes(), options)
      .masked_fill(padding, -std::numeric_limits<double>::infinity())
      .unsqueeze(1)
      .unsqueeze(1);
}

at::Tensor DitModel::finish(const at::Tensor& image, const at::Tensor& e, Grid grid) const {
  const std::vector<at::Tensor> m = norm_out(e).unsqueeze(1).chunk(2, -1);  // scale, then shift: (B, 1, D) each
  at::Tensor patches = proj_out(kernels::modulated_norm({image, m[1], m[0]}, kNormEps));  // (B, N, C·p²)
  if (sequence) patches = sequence->gather_tokens(patches);
  const int64_t p = config.patch_size;
  return patches.unflatten(2, {-1, p, p})
      .unflatten(1, {grid.height, grid.width})  // (B, h, w, C, p, p)
      .permute({0, 3, 1, 4, 2, 5})
      .flatten(4, 5)
      .flatten(2, 3);
}

at::Tensor DitModel::step(const at::Tensor& latents, const at::Tensor& timestep, const DitPrepared& prepared,
                          const DitStepOptions& options) const {
  const int64_t batch = latents.size(0);
  ReferenceCache cache;  // shares the tensors; repeats samples only where the batch asks for it
  const ReferenceCache* references = nullptr;
  if (options.references && !options.references->empty()) {
    cache = options.references->for_batch(batch);
    references = &cache;
  }
  const at::Tensor e = conditioning(timestep, prepared);  // (B or 1, T)
  DitStreams h = embed(latents, prepared);
  DitAttention context = {
      .rope = prepared.rope, .key_bias = key_bias(prepared, references, batch), .sequence = sequence};
  for (size_t i = 0; i < transformer_blocks.size(); ++i) {
    if (options.blocks) {
      const at::Tensor rest = options.blocks->shortcut(static_cast<int64_t>(i), h.image);  // (B, N, D) or undefined
      if (rest.defined()) return finish(rest, e, prepared.grid);
    }
    const LayerTurn turn(listener, i);
    if (references) context.references = &references->blocks[i];
    const bool last = i + 1 == transformer_blocks.size();
    h = transformer_blocks[i].run(h, e, context, last ? GlyphOutput::drop : GlyphOutput::keep, options.activations);
    turn.made(h.image);
    turn.made(h.glyphs);
  }
  if (options.blocks) options.blocks->computed(h.image);
  return finish(h.image, e, prepared.grid);
}

at::Tensor DitModel::forward(const DitInput& input, const ReferenceCache* references, Activations activations) const {
  return step(input.latents, input.timestep, prepare(input), {.references = references, .activations = activations});
}

void DitModel::write_references(const DitInput& input, ReferenceCache& references, Activations activations) const {
  const DitPrepared prepared = prepare(input);
  const at::Tensor e = conditioning(input.timestep, prepared);
  DitStreams h = embed(input.latents, prepared);
  DitAttention context = {
      .rope = prepared.rope, .key_bias = key_bias(prepared, nullptr, input.latents.size(0)), .sequence = sequence};
  std::vector<KeyValue> pass(transformer_blocks.size());
  for (size_t i = 0; i + 1 < transformer_blocks.size(); ++i) {
    const LayerTurn turn(listener, i);
    context.written = &pass[i];
    h = transformer_blocks[i].run(h, e, context, GlyphOutput::keep, activations);
    turn.made(h.image);
    turn.made(h.glyphs);
  }
  const LayerTurn turn(listener, transformer_blocks.size() - 1);
  pass.back() = transformer_blocks.back().keys_and_values(h, e, context);
  turn.made(pass.back().k);
  turn.made(pass.back().v);
  references.append(std::move(pass));
}

}  // namespace glmimage
