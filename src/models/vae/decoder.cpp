#include "models/vae/decoder.h"

namespace glmimage {
namespace {

constexpr Statistics kStatistics = Statistics::exact;

}  // namespace

VaeDecoder::VaeDecoder(const VaeConfig& config)
    : conv_in(config.latent_channels, config.widths.back(), 3, 1, 1),
      mid_block(config.widths.back(), config.norm_groups, config.mid_block_attention, kStatistics),
      conv_norm_out(config.norm_groups, config.widths.front(), kVaeNormEps),
      conv_out(config.widths.front(), VaeConfig::kPictureChannels, 3, 1, 1) {
  int64_t in = config.widths.back();
  for (size_t i = config.widths.size(); i-- > 0;) {
    up_blocks.emplace_back(in, config.widths[i], config.layers_per_block + 1, config.norm_groups,
                           i > 0 ? Rescale::twice : Rescale::none, kStatistics);
    in = config.widths[i];
  }
}

void VaeDecoder::list(ParameterList& list, const std::string& prefix) {
  conv_in.list(list, prefix + ".conv_in");
  mid_block.list(list, prefix + ".mid_block");
  for (size_t i = 0; i < up_blocks.size(); ++i) up_blocks[i].list(list, prefix + ".up_blocks." + std::to_string(i));
  conv_norm_out.list(list, prefix + ".conv_norm_out");
  conv_out.list(list, prefix + ".conv_out");
}

at::Tensor VaeDecoder::operator()(const at::Tensor& z) const {
  at::Tensor h = conv_in(z);
  mid_block.replace(h);                                      // (B, b3, h, w)
  for (const VaeBlock& block : up_blocks) block.replace(h);  // (B, b0, 8h, 8w)
  return finish(conv_norm_out, conv_out, h, kStatistics);
}

}  // namespace glmimage
