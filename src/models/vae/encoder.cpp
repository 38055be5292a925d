#include "models/vae/encoder.h"

namespace glmimage {
namespace {

constexpr Statistics kStatistics = Statistics::as_aten;

}  // namespace

VaeEncoder::VaeEncoder(const VaeConfig& config)
    : conv_in(VaeConfig::kPictureChannels, config.widths.front(), 3, 1, 1),
      mid_block(config.widths.back(), config.norm_groups, config.mid_block_attention, kStatistics),
      conv_norm_out(config.norm_groups, config.widths.back(), kVaeNormEps),
      conv_out(config.widths.back(), 2 * config.latent_channels, 3, 1, 1) {
  int64_t in = config.widths.front();
  for (size_t i = 0; i < config.widths.size(); ++i) {
    const Rescale rescale = i + 1 < config.widths.size() ? Rescale::half : Rescale::none;
    down_blocks.emplace_back(in, config.widths[i], config.layers_per_block, config.norm_groups, rescale, kStatistics);
    in = config.widths[i];
  }
}

void VaeEncoder::list(ParameterList& list, const std::string& prefix) {
  conv_in.list(list, prefix + ".conv_in");
  for (size_t i = 0; i < down_blocks.size(); ++i)
    down_blocks[i].list(list, prefix + ".down_blocks." + std::to_string(i));
  mid_block.list(list, prefix + ".mid_block");
  conv_norm_out.list(list, prefix + ".conv_norm_out");
  conv_out.list(list, prefix + ".conv_out");
}

at::Tensor VaeEncoder::operator()(const at::Tensor& x) const {
  at::Tensor h = conv_in(x);  // (B, b0, H, W)
  for (const VaeBlock& block : down_blocks) block.replace(h);
  mid_block.replace(h);  // (B, b3, H/8, W/8)
  return finish(conv_norm_out, conv_out, h, kStatistics);
}

}  // namespace glmimage
