#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <functional>

#include "bench/layers.h"
#include "core/error.h"
#include "models/vae/vae.h"

namespace glmimage::bench {
namespace {

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

// Of a convolution's result, pixels a side, told by its name in a VAE that sees pictures of `side`.
int64_t result_side(const std::string& name, int64_t side, const VaeConfig& config) {
  const auto block = [&](const char* kind) -> int64_t {
    const size_t at = name.find(kind);
    return at == std::string::npos ? -1 : name[at + std::string(kind).size()] - '0';
  };
  const int64_t sampled = name.find("samplers.") != std::string::npos ? 1 : 0, latents = side / config.scale();
  if (const int64_t down = block("down_blocks."); down >= 0) return side >> (down + sampled);
  if (const int64_t up = block("up_blocks."); up >= 0) return latents << (up + sampled);
  const bool picture = name.starts_with("encoder.conv_in") || name.starts_with("decoder.conv_out");
  return picture ? side : latents;
}

// Of the convolutions: at every pixel of a result, every weight once.
int64_t flops(const ParameterList& list, int64_t side, const VaeConfig& config) {
  int64_t sum = 0;
  for (const Parameter& p : list) {
    if (p.shape.size() != 4) continue;
    const int64_t pixels = result_side(p.name, side, config) * result_side(p.name, side, config);
    sum += 2 * pixels * p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3];
  }
  return sum;
}

// The VAE tells its type by this one.
bool is_first_convolution(const Parameter& p) { return p.name == "encoder.conv_in.weight"; }

// Times `work` on a VAE that has weights for `half` of it alone, "encoder." or "decoder.".
void bench_half(Report& report, const LayerSizes& sizes, const Format& format, const std::string& half,
                const std::function<std::vector<double>(const Vae&, int64_t side)>& work) {
  const c10::InferenceMode inference;
  Vae vae(vae_config(sizes));
  ParameterList all, parameters;
  vae.list(all);
  for (const Parameter& p : all) {
    if (p.name.starts_with(half)) parameters.push_back(p);
  }
  fill(parameters, format);
  if (half != "encoder.") fill({*std::find_if(all.begin(), all.end(), is_first_convolution)}, format);
  for (const int64_t side : sizes.picture_sides) {
    const std::string key = concat("vae.", half == "encoder." ? "encode_" : "decode_", side);
    report.add(key, concat("VAE ", half.substr(0, half.size() - 1), ", ", side, " x ", side, " pixels"),
               work(vae, side));
    report.set(key, "flops", flops(parameters, side, vae.config));
  }
}

}  // namespace

void bench_vae_encoder(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  repeats.ahead = 1;  // each run is long enough
  bench_half(report, sizes, format, "encoder.", [&](const Vae& vae, int64_t side) {
    const at::Tensor pixels = noise({1, 3, side, side}, format);
    return time_runs(repeats, [&] { vae.encode(pixels); });
  });
}

void bench_vae_decoder(Report& report, const LayerSizes& sizes, const Format& format, Repeats repeats) {
  repeats.ahead = 1;
  bench_half(report, sizes, format, "decoder.", [&](const Vae& vae, int64_t side) {
    const int64_t latents_side = side / vae.config.scale();
    const at::Tensor latents = noise({1, vae.config.latent_channels, latents_side, latents_side}, format);
    return time_runs(repeats, [&] { vae.decode(latents); });
  });
}

}  // namespace glmimage::bench
