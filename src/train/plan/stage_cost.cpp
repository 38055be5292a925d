#include "train/plan/stage_cost.h"

#include <algorithm>

#include "core/error.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "models/tokens.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "text/chat_template.h"
#include "train/losses/tokenizer_loss.h"

namespace glmimage::train {
namespace {

// A product of (rows, in) and (in, out).
double product(int64_t rows, int64_t in, int64_t out) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
}

// Scores, and their sums of values.
double attention(int64_t queries, int64_t keys, int64_t width) { return 2 * product(queries, width, keys); }

int64_t elements(const Parameter& p) {
  int64_t count = 1;
  for (int64_t side : p.shape) count *= side;
  return count;
}

// Parameters are counted by the models' own lists, which say shapes before there are tensors.
void count_parameters(StageCost& cost, const ParameterList& list, const std::string& layer_prefix) {
  for (const Parameter& p : list) {
    const int64_t count = elements(p);
    cost.parameters += count;
    cost.largest_parameter = std::max(cost.largest_parameter, count);
    const bool table = p.name.ends_with("embed_tokens.weight") || p.name.ends_with("embedding.weight");
    if (p.shape.size() > 1 && !table) cost.cast_parameters += count;
    if (p.name.starts_with(layer_prefix)) cost.layer_parameters += count;
  }
}

int64_t item_bytes(Precision precision) { return precision == Precision::bfloat16 ? 2 : 4; }

double glyph_flops(const GlyphConfig& c, int64_t tokens) {
  const int64_t inner = c.heads * c.head_dim;
  const double block = 4 * product(tokens, c.width, inner) + attention(tokens, tokens, inner) +
                       3 * product(tokens, c.width, c.feed_forward);
  return static_cast<double>(c.layers) * block;
}

// What a layer keeps for the backward pass, in bytes: every value that an operator reads there. In float32 all count
// four bytes; in bfloat16 arithmetic the streams and norms of all but the transformer stay float32. docs/scaling.md has
// the tensors one by one.
int64_t glyph_bytes(const GlyphConfig& c, int64_t g, Precision precision) {
  const int64_t inner = c.heads * c.head_dim, scores = 4 * c.heads * g * g;
  const int64_t token = precision == Precision::bfloat16 ? 24 * c.width + 8 * inner + 8 * c.feed_forward
                                                         : 4 * (6 * c.width + 4 * inner + 3 * c.feed_forward);
  return c.layers * (g * token + scores);
}

int64_t dit_layer_bytes(const DitConfig& c, int64_t tokens, Precision precision) {
  const int64_t statistics = 4 * (4 * c.heads + 7);
  return tokens * ((precision == Precision::bfloat16 ? 2 * 22 : 4 * 20) * c.width() + statistics);
}

int64_t ar_layer_bytes(const ArConfig& c, int64_t tokens, Precision precision) {
  const int64_t d = c.hidden_size, inner = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim, f = c.intermediate_size;
  const int64_t statistics = 4 * (c.heads + 4);
  const int64_t values =
      precision == Precision::bfloat16 ? 24 * d + 6 * inner + 6 * kv + 8 * f : 4 * (6 * d + 3 * inner + 3 * kv + 3 * f);
  return tokens * (values + statistics);
}

int64_t vision_layer_bytes(const VisionConfig& c, int64_t tokens, Precision precision) {
  const int64_t d = c.hidden_size, f = c.intermediate_size, statistics = 4 * (c.heads + 4);
  return tokens * ((precision == Precision::bfloat16 ? 20 * d + 4 * f : 4 * (8 * d + 2 * f)) + statistics);
}

StageCost dit_cost(const Preset& preset, const SampleShape& s, Precision precision) {
  const DitConfig& c = preset.dit;
  DitModel dit(c);
  GlyphEncoder glyph(preset.glyph);
  ParameterList list;
  dit.list(list);
  glyph.list(list);
  StageCost cost;
  count_parameters(cost, list, "transformer_blocks.0.");
  const int64_t width = c.width(), image = (s.height / kPixelsPerDitToken) * (s.width / kPixelsPerDitToken);
  const int64_t tokens = image + s.glyph_tokens, patch = c.in_channels * c.patch_size * c.patch_size;
  cost.tokens = tokens;
  cost.layers = c.layers;
  // Queries and what follows are of `live` tokens: the last block leaves the glyphs behind.
  const auto block = [&](int64_t live) {
    return product(1, c.time_dim, 12 * width) + 2 * product(tokens, width, width) + 2 * product(live, width, width) +
           attention(live, tokens, width) + 2 * product(live, width, 4 * width);
  };
  cost.layer_flops = static_cast<double>(c.layers - 1) * block(tokens) + block(image);
  cost.other_flops = 2 * product(image, patch, width) + 2 * product(image, width, width) +
                     product(s.glyph_tokens, c.text_dim, width) + product(s.glyph_tokens, width, width) +
                     2 * product(1, c.time_dim, c.time_dim) + product(1, 4 * c.condition_dim, c.time_dim) +
                     product(1, c.time_dim, c.time_dim) + product(1, c.time_dim, 2 * width) +
                     glyph_flops(preset.glyph, s.glyph_tokens);
  const int64_t item = item_bytes(precision);
  cost.layer_bytes = dit_layer_bytes(c, tokens, precision);
  cost.input_bytes = item * tokens * width;
  cost.early_bytes = image * width * (precision == Precision::bfloat16 ? 2 * 11 : 4 * 8) +
                     glyph_bytes(preset.glyph, s.glyph_tokens, precision);
  cost.exchanged_bytes = item * 4 * tokens * width;
  return cost;
}

StageCost ar_cost(const Preset& preset, const SampleShape& s, Precision precision) {
  const ArConfig& c = preset.ar;
  ArModel model(c);
  ParameterList list;
  model.list(list);
  StageCost cost;
  count_parameters(cost, list, "model.language_model.layers.0.");
  const PromptGrid grid = {s.height / kPixelsPerVisualToken, s.width / kPixelsPerVisualToken};
  const PromptGrid draft = draft_grid(grid, preset.draft_size);
  const int64_t learned = grid.height * grid.width + draft.height * draft.width + 1;  // and the end token
  cost.tokens = s.text_tokens + learned - 1;                                          // the last is not read
  cost.layers = c.layers;
  const int64_t t = cost.tokens, d = c.hidden_size, inner = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const double layer = 2 * product(t, d, inner) + 2 * product(t, d, kv) + attention(t, t, inner) +
                       3 * product(t, d, c.intermediate_size);
  cost.layer_flops = static_cast<double>(c.layers) * layer;
  cost.other_flops = product(learned, d, c.visual_vocab_size);
  const int64_t item = item_bytes(precision);
  cost.layer_bytes = ar_layer_bytes(c, t, precision);
  cost.input_bytes = 4 * t * d;
  // Logits in the type of the arithmetic and in float32, and the logarithms of their softmax.
  const int64_t scores = precision == Precision::bfloat16 ? 2 + 4 + 4 : 4 + 4;
  cost.early_bytes = 4 * t * d;
  cost.late_bytes = 4 * 2 * t * d + scores * learned * c.visual_vocab_size;
  cost.exchanged_bytes = item * t * (2 * inner + 2 * kv);
  return cost;
}

StageCost tokenizer_cost(const Preset& preset, const SampleShape& s, Precision precision) {
  const VisionConfig& c = preset.vision;
  const VqConfig& vq = preset.vq;
  VisualTokenizer model({c, vq});
  ParameterList list;
  model.list(list);
  StageCost cost;
  count_parameters(cost, list, "model.visual.blocks.0.");
  const int64_t n = (s.height / kPixelsPerVisualToken) * (s.width / kPixelsPerVisualToken), d = c.hidden_size;
  cost.tokens = n;
  cost.layers = c.depth;
  const double block = 4 * product(n, d, d) + attention(n, n, d) + 2 * product(n, d, c.intermediate_size);
  cost.layer_flops = static_cast<double>(c.depth) * block;
  // The head that sees the whole picture has a block of its own; what names things is small and not counted.
  cost.other_flops = product(n, c.patch_values(), d) + 2 * product(n, d, vq.embed_dim) + block;
  cost.fixed_flops = product(n, vq.embed_dim, vq.codes);
  cost.layer_bytes = vision_layer_bytes(c, n, precision);
  cost.input_bytes = 4 * n * d;
  const int64_t heads = cost.layer_bytes + 4 * n * (5 * d + 6 * vq.embed_dim + c.patch_values() / 4) +
                        (precision == Precision::bfloat16 ? 2 * n * c.patch_values() : 0);
  const int64_t distances = 4 * 3 * std::min<int64_t>(n, 1024) * vq.codes;
  cost.late_bytes = std::max(heads, distances);
  return cost;
}

// Convolutions of the VAE at their sizes, and what they keep. Nothing of it is recomputed or has layers alike.
class VaeCounter {
 public:
  VaeCounter(int64_t height, int64_t width) : pixels_(height * width) {}
  void conv(int64_t in, int64_t out, int64_t kernel) { flops_ += product(pixels_, in * kernel * kernel, out); }
  void resnet(int64_t in, int64_t out) {
    conv(in, out, 3);
    conv(out, out, 3);
    if (in != out) conv(in, out, 1);
    kept_ += pixels_ * (3 * in + 3 * out);
  }
  void finish(int64_t in, int64_t out) {
    conv(in, out, 3);
    kept_ += pixels_ * 3 * in;
  }
  void attention_block(int64_t width) {
    flops_ += 4 * product(pixels_, width, width) + attention(pixels_, pixels_, width);
    kept_ += pixels_ * 7 * width;
  }
  void halved(int64_t width) {
    kept_ += pixels_ * width;
    pixels_ /= 4;
    conv(width, width, 3);
  }
  void doubled(int64_t width) {
    pixels_ *= 4;
    conv(width, width, 3);
    kept_ += pixels_ * width;
  }
  double flops() const { return flops_; }
  int64_t kept() const { return kept_; }

 private:
  int64_t pixels_, kept_ = 0;
  double flops_ = 0;
};

void count_middle(VaeCounter& count, const VaeConfig& c) {
  count.resnet(c.widths.back(), c.widths.back());
  if (c.mid_block_attention) count.attention_block(c.widths.back());
  count.resnet(c.widths.back(), c.widths.back());
}

void count_encoder(VaeCounter& count, const VaeConfig& c) {
  int64_t in = c.widths.front();
  count.conv(VaeConfig::kPictureChannels, in, 3);
  for (size_t i = 0; i < c.widths.size(); ++i) {
    for (int64_t k = 0; k < c.layers_per_block; ++k) {
      count.resnet(in, c.widths[i]);
      in = c.widths[i];
    }
    if (i + 1 < c.widths.size()) count.halved(in);
  }
  count_middle(count, c);
  count.finish(in, 2 * c.latent_channels);
}

void count_decoder(VaeCounter& count, const VaeConfig& c) {
  int64_t in = c.widths.back();
  count.conv(c.latent_channels, in, 3);
  count_middle(count, c);
  for (size_t i = c.widths.size(); i-- > 0;) {
    for (int64_t k = 0; k < c.layers_per_block + 1; ++k) {
      count.resnet(in, c.widths[i]);
      in = c.widths[i];
    }
    if (i > 0) count.doubled(in);
  }
  count.finish(in, VaeConfig::kPictureChannels);
}

StageCost vae_cost(const Preset& preset, const SampleShape& s, Precision precision) {
  Vae vae(preset.vae);
  ParameterList list;
  vae.list(list);
  StageCost cost;
  count_parameters(cost, list, "none");
  VaeCounter encoder(s.height, s.width);
  count_encoder(encoder, preset.vae);
  VaeCounter decoder(s.height / preset.vae.scale(), s.width / preset.vae.scale());
  count_decoder(decoder, preset.vae);
  cost.tokens = (s.height / preset.vae.scale()) * (s.width / preset.vae.scale());
  cost.other_flops = encoder.flops() + decoder.flops();
  constexpr int64_t kLossValues = 34;  // of a pixel, float32: both pictures, their differences and those of neighbours
  cost.early_bytes = item_bytes(precision) * (encoder.kept() + decoder.kept()) + 4 * kLossValues * s.height * s.width;
  return cost;
}

}  // namespace

StageCost stage_cost(const std::string& stage, const Preset& preset, const SampleShape& sample, Precision precision) {
  if (sample.height < 32 || sample.width < 32 || sample.height % 32 != 0 || sample.width % 32 != 0 ||
      sample.height > 16384 || sample.width > 16384) {
    fail(ErrorKind::usage, "a picture of ", sample.width, " x ", sample.height,
         ": expected sides that are multiples of 32, from 32 to 16384");
  }
  if (sample.text_tokens < 1 || sample.glyph_tokens < 0 || sample.text_tokens > 1'000'000 ||
      sample.glyph_tokens > 1'000'000) {
    fail(ErrorKind::usage, "text tokens ", sample.text_tokens, " and glyph tokens ", sample.glyph_tokens,
         ": expected up to a million, and at least 1 and 0");
  }
  if (stage == "dit") return dit_cost(preset, sample, precision);
  if (stage == "ar") return ar_cost(preset, sample, precision);
  if (stage == "tokenizer") return tokenizer_cost(preset, sample, precision);
  if (stage == "vae") return vae_cost(preset, sample, precision);
  fail(ErrorKind::usage, "there is no stage '", stage, "' to plan; known are: vae, tokenizer, dit, ar");
}

}  // namespace glmimage::train
