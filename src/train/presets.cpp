#include "train/presets.h"

#include "core/error.h"

namespace glmimage::train {
namespace {

// The sizes that differ between presets; everything else follows the published configuration.
struct Sizes {
  std::vector<int64_t> vae_widths;
  int64_t vae_groups = 8, latent_channels = 16;
  int64_t vision_depth = 4, vision_width = 160, vision_heads = 4;
  int64_t codes = 1024, code_dim = 32;
  int64_t glyph_width = 128, glyph_layers = 3, glyph_heads = 4;
  int64_t dit_heads = 4, dit_head_dim = 64, dit_layers = 5, dit_time = 64;
  int64_t ar_width = 192, ar_layers = 4, ar_heads = 3, ar_feed_forward = 512;
};

constexpr int64_t kControlIds = 128;  // begin, end, and the reserved rest, as published

VaeConfig vae_config(const Sizes& s, int64_t picture) {
  VaeConfig c;
  c.widths = s.vae_widths;
  c.layers_per_block = 1;
  c.latent_channels = s.latent_channels;
  c.norm_groups = s.vae_groups;
  c.sample_size = picture;
  c.latents_mean.assign(static_cast<size_t>(s.latent_channels), 0.0);
  c.latents_std.assign(static_cast<size_t>(s.latent_channels), 1.0);
  return c;
}

ArConfig ar_config(const Sizes& s) {
  ArConfig c;
  c.codebook_size = s.codes;
  c.visual_vocab_size = s.codes + kControlIds;
  c.hidden_size = s.ar_width;
  c.layers = s.ar_layers;
  c.heads = s.ar_heads;
  c.kv_heads = 1;
  c.head_dim = s.ar_width / s.ar_heads;
  c.intermediate_size = s.ar_feed_forward;
  c.partial_rotary_factor = 0.5;
  // Published: 8, 12 and 12 of 32 frequencies; the same shares of a smaller head.
  const int64_t frequencies = c.rotary_dim() / 2, temporal = frequencies / 4, rest = frequencies - temporal;
  c.mrope_section = {temporal, rest / 2, rest - rest / 2};
  c.begin_image_id = s.codes;
  c.end_image_id = c.eos_id = s.codes + 1;
  c.dtype = "bfloat16";
  return c;
}

Preset make_preset(const std::string& name, const Sizes& s, int64_t picture) {
  Preset p;
  p.name = name;
  p.picture_size = picture;
  p.vae = vae_config(s, picture);
  p.vision.depth = s.vision_depth;
  p.vision.hidden_size = s.vision_width;
  p.vision.heads = s.vision_heads;
  p.vision.intermediate_size = 4 * s.vision_width;
  p.vision.image_size = picture / 2;  // the tower sees half of each side
  p.vq.codes = s.codes;
  p.vq.embed_dim = s.code_dim;
  p.vq.latent_channels = s.vision_width;
  p.preprocess.min_pixels = picture * picture;
  p.preprocess.max_pixels = 16 * picture * picture;
  p.dit.heads = s.dit_heads;
  p.dit.head_dim = s.dit_head_dim;
  p.dit.layers = s.dit_layers;
  p.dit.in_channels = p.dit.out_channels = s.latent_channels;
  p.dit.text_dim = s.glyph_width;
  p.dit.time_dim = s.dit_time;
  p.dit.condition_dim = s.dit_time / 2;
  p.dit.codes = s.codes;
  p.glyph.vocab_size = 384;
  p.glyph.width = s.glyph_width;
  p.glyph.heads = s.glyph_heads;
  p.glyph.head_dim = s.glyph_width / s.glyph_heads;
  p.glyph.feed_forward = 2 * s.glyph_width;
  p.glyph.layers = s.glyph_layers;
  p.glyph.buckets = 32;
  p.glyph.max_distance = 128;
  p.glyph.eps = 1e-6;
  p.ar = ar_config(s);
  return p;
}

// The sizes of the published checkpoint, from its configuration files.
Preset published_preset() {
  Sizes sizes;
  sizes.vae_widths = {128, 512, 1024, 1024};
  sizes.vae_groups = 32;
  sizes.vision_depth = 40, sizes.vision_width = 1536, sizes.vision_heads = 16;
  sizes.codes = 16384, sizes.code_dim = 2048;
  sizes.glyph_width = 1472, sizes.glyph_layers = 12, sizes.glyph_heads = 6;
  sizes.dit_heads = 32, sizes.dit_head_dim = 128, sizes.dit_layers = 30, sizes.dit_time = 512;
  sizes.ar_width = 4096, sizes.ar_layers = 40, sizes.ar_heads = 32, sizes.ar_feed_forward = 13696;
  Preset preset = make_preset("published", sizes, 1024);
  preset.draft_size = 16;
  preset.bpe_merges = 150'000;  // at most; the published vocabulary has as many
  preset.vae.layers_per_block = 3;
  preset.vision.image_size = 2048;
  preset.preprocess.min_pixels = 512 * 512;
  preset.preprocess.max_pixels = 2048 * 2048;
  preset.glyph.head_dim = 64;
  preset.glyph.feed_forward = 3584;
  preset.ar.kv_heads = 2;
  preset.ar.vocab_size = 168064;
  preset.ar.pad_id = 167841;
  preset.ar.image_placeholder_id = 167855;
  return preset;
}

}  // namespace

Preset find_preset(const std::string& name) {
  if (name == "mini") {
    Sizes sizes;
    sizes.vae_widths = {32, 32, 64, 128};
    return make_preset(name, sizes, 128);
  }
  if (name == "tiny") {
    Sizes sizes;
    sizes.vae_widths = {8, 8, 8, 8};
    sizes.vae_groups = 4;
    sizes.latent_channels = 4;
    sizes.vision_depth = 1;
    sizes.vision_width = 32;
    sizes.vision_heads = 2;
    sizes.codes = 64;
    sizes.code_dim = 8;
    sizes.glyph_width = 16;
    sizes.glyph_layers = 1;
    sizes.glyph_heads = 2;
    sizes.dit_heads = 2;
    sizes.dit_head_dim = 16;
    sizes.dit_layers = 1;
    sizes.dit_time = 16;
    sizes.ar_width = 32;
    sizes.ar_layers = 1;
    sizes.ar_heads = 2;
    sizes.ar_feed_forward = 32;
    Preset preset = make_preset(name, sizes, 64);
    preset.synthetic_pictures = 256;
    preset.bpe_merges = 64;
    return preset;
  }
  if (name == "published") return published_preset();
  fail(ErrorKind::usage, "there is no preset '", name, "'; known are: tiny, mini, published");
}

}  // namespace glmimage::train
