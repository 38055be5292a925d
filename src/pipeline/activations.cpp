#include "pipeline/activations.h"

#include <algorithm>

#include "kernels/attention.h"
#include "models/vae/bytes.h"
#include "text/chat_template.h"

namespace glmimage {
namespace {

int64_t item_bytes(const at::Tensor& like) { return static_cast<int64_t>(like.element_size()); }
int64_t image_tokens(const DitConfig& config, int64_t height, int64_t width, int64_t scale) {
  return (height / scale / config.patch_size) * (width / scale / config.patch_size);
}
int64_t visual_tokens(int64_t height, int64_t width) {
  return (height / kPixelsPerVisualToken) * (width / kPixelsPerVisualToken);
}

// Attention of `queries` over `keys` tokens beside q, k and v, in bytes: hardly more than the result where it is fused.
// Else it is computed in float32, from copies of q and k: scores before and after the softmax.
struct AttentionSize {
  int64_t heads, head_dim, queries, keys;
};
int64_t attention_bytes(const AttentionSize& a, int64_t item, const Arithmetic& how) {
  const int64_t width = a.heads * a.head_dim, result = width * a.queries, scores = a.heads * a.queries * a.keys;
  // A processor's own of bfloat16 packs keys and values anew.
  const int64_t packed = how.host && item == 2 ? 2 * width * a.keys : 0;
  if (how.fused_attention) return item * (result + packed);
  const int64_t widened = item < 4 ? width * (a.queries + 2 * a.keys) : 0;
  return 4 * (std::max(2 * scores, scores + result) + width * (a.queries + a.keys) + widened);
}

// The prompt is the highest point, also of a batch, whose prompts are read one after the other: later tokens come one
// by one. Keys and values are there for all of them, and of a batch every request's logits and the angles of its ids.
StageNeed language_model(const ArModel& model, const RequestShape& r, const Arithmetic& how) {
  const ArConfig& c = model.config;
  const int64_t item = item_bytes(model.embed_tokens.weight), target = visual_tokens(r.height, r.width);
  int64_t prompt = r.text_tokens, drawn = target;
  for (const PixelSize& reference : r.references) prompt += visual_tokens(reference.height, reference.width);
  if (r.references.empty()) {
    const PromptGrid draft =
        draft_grid({r.height / kPixelsPerVisualToken, r.width / kPixelsPerVisualToken}, c.draft_size);
    drawn += draft.height * draft.width;
  }
  const int64_t cache = 2 * c.layers * c.kv_heads * c.head_dim * (prompt + drawn - 1);
  const int64_t stream = prompt * c.hidden_size;
  const int64_t gated = prompt * c.intermediate_size * (how.one_pass ? 3 : 4);  // gate, up and their product
  const int64_t projected = prompt * (c.heads + 2 * c.kv_heads) * c.head_dim;
  // Where attention is composed, its mask is a table and the shared heads are repeated.
  const int64_t composed = how.fused_attention ? 0 : 4 * (prompt * prompt + 2 * prompt * c.heads * c.head_dim);
  const int64_t attention =
      item * 2 * projected + composed + attention_bytes({c.heads, c.head_dim, prompt, prompt}, item, how);
  const int64_t of_each =
      r.together > 1 ? item * 2 * model.lm_head.weight.size(0) + int64_t{4} * drawn * c.head_dim : 0;
  return {.stage = Stage::visual_tokens,
          .parts = {WeightPart::ar},
          .activations = item * 3 * stream + std::max(item * gated, attention),
          .cache = r.together * (item * cache + of_each)};
}

// One string at a time.
StageNeed glyph_encoder(const GlyphEncoder& model, const RequestShape& r, const Arithmetic& how) {
  const GlyphConfig& c = model.config;
  const int64_t tokens = r.glyph_tokens;
  const int64_t bias = c.heads * tokens * tokens;
  const int64_t item = item_bytes(model.shared.weight);
  const int64_t attention =
      item * 4 * tokens * c.heads * c.head_dim + attention_bytes({c.heads, c.head_dim, tokens, tokens}, item, how);
  return {
      .stage = Stage::glyphs,
      .parts = {WeightPart::glyph},
      .activations = item * (bias + 3 * tokens * c.width) + std::max(attention, item * 3 * tokens * c.feed_forward)};
}

// What stays from step to step, the references' keys and values, and the higher half of a block.
StageNeed transformer(const DitModel& model, const RequestShape& r, int64_t scale, const Arithmetic& how) {
  const DitConfig& c = model.config;
  const int64_t width = c.width(), image = image_tokens(c, r.height, r.width, scale), tokens = image + r.glyph_tokens;
  int64_t references = 0;
  for (const PixelSize& each : r.references) references += image_tokens(c, each.height, each.width, scale);
  const int64_t prepared = (r.guided ? 2 : 1) * (image + r.glyph_tokens) * width;
  const int64_t cache = 2 * c.layers * width * references,
                behind = references > 0 ? 2 * width * (references + tokens) : 0;
  const int64_t item = item_bytes(model.image_projector.bias);
  const int64_t attention = item * (5 * tokens * width + behind) +
                            attention_bytes({c.heads, c.head_dim, tokens, references + tokens}, item, how);
  const int64_t feed_forward = item * (3 + 8) * tokens * width;
  return {.stage = Stage::denoise,
          .parts = {WeightPart::dit},
          .activations = item * (prepared + 12 * width) + std::max(attention, feed_forward),
          .cache = item * cache};
}

int64_t vision_tower(const VisualTokenizer& model, const RequestShape& r, const Arithmetic& how) {
  const VisionConfig& c = model.config.vision;
  int64_t tokens = 0;
  for (const PixelSize& each : r.references) tokens = std::max(tokens, visual_tokens(each.height, each.width));
  const int64_t item = item_bytes(model.tower.patch_embed.weight);
  const int64_t attention = item * 5 * tokens * c.hidden_size +
                            attention_bytes({c.heads, c.hidden_size / c.heads, tokens, tokens}, item, how);
  const int64_t feed_forward = item * (3 * tokens * c.hidden_size + 2 * tokens * c.intermediate_size);
  // The codebook and its unit vectors are compared in float32.
  const VqConfig& vq = model.config.vq;
  const int64_t lookup = 4 * (2 * vq.codes * vq.embed_dim + 3 * std::min<int64_t>(tokens, 1024) * vq.codes);
  return std::max({attention, feed_forward, lookup});
}

}  // namespace

Arithmetic Arithmetic::of(at::Device device, at::ScalarType dtype) {
  return {.fused_attention = kernels::attention_is_fused(device),
          .one_pass = device.is_cpu() && dtype == at::kFloat,
          .host = device.is_cpu()};
}

std::vector<StageNeed> stage_needs(const Models& sketch, const RequestShape& request, const Arithmetic& arithmetic) {
  const VaeConfig& vae = sketch.vae.config;
  const at::ScalarType vae_dtype = sketch.vae.encoder.conv_in.weight.scalar_type();
  std::vector<StageNeed> out;
  if (!request.references.empty()) {
    int64_t most = vision_tower(sketch.visual_tokenizer, request, arithmetic);
    for (const PixelSize& each : request.references) {
      most = std::max(most, encode_bytes(vae, each.height, each.width, vae_dtype));
    }
    out.push_back({.stage = Stage::references,
                   .parts = {WeightPart::visual_tokenizer, WeightPart::vae_encoder},
                   .activations = most});
  }
  out.push_back(language_model(sketch.ar, request, arithmetic));
  out.push_back(glyph_encoder(sketch.glyph, request, arithmetic));
  out.push_back(transformer(sketch.dit, request, vae.scale(), arithmetic));
  out.push_back({.stage = Stage::decode,
                 .parts = {WeightPart::vae_decoder},
                 .activations = decode_bytes(vae, request.height, request.width, vae_dtype)});
  return out;
}

}  // namespace glmimage
