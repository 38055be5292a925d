#include "models/vae/bytes.h"

#include <algorithm>

#include "models/vae/strips.h"

namespace glmimage {
namespace {

// A picture of activations on its way, and the most that was held at a time. Follows blocks.cpp and strips.cpp; sizes
// are counted in values until the end.
class Walk {
 public:
  Walk(int64_t channels, int64_t height, int64_t width, c10::ScalarType dtype, Statistics statistics)
      : normed_copies_(statistics == Statistics::as_aten && dtype == at::kFloat),
        bytes_per_value_(static_cast<int64_t>(c10::elementSize(dtype))),
        channels_(channels),
        height_(height),
        width_(width),
        input_(now()) {}

  void conv_in(int64_t out) {
    hold(area() * out, kernel(out, 9));
    channels_ = out;
  }

  void norm_silu_conv(int64_t out) {
    if (normed_copies_) hold(2 * now(), 0);
    const Strip s = strip(channels_, out);
    hold(now() + (s.is_whole ? 0 : area() * out), s.values + kernel(out, 9));
    channels_ = out;
  }

  void resnet(int64_t out) {
    const int64_t x = now(), h = area() * out;
    norm_silu_conv(out);                       // x is still there, and channels_ are h's
    if (out * area() > x) hold(x + 2 * h, 0);  // a skip that widens
    if (normed_copies_) hold(2 * h + (out * area() > x ? h : x), 0);
    const Strip s = strip(out, out);
    hold(h + (out * area() > x ? h : x), s.values + kernel(out, 9));
  }

  void attention() { hold(6 * now(), 0); }  // x, its norm as tokens, queries, keys, values and their mixture

  void doubled() {
    const Strip s = strip(channels_, channels_);
    hold(5 * now(), s.values + 2 * kernel(channels_, 4));
    height_ *= 2, width_ *= 2;
  }

  void halved() {
    const int64_t width = width_ / 2, row = width * 5 * channels_;
    const int64_t strips = StripLimits().strips(height_ / 2, width, row * bytes_per_value_);
    hold(now() + now() / 4, (height_ / 2 + strips - 1) / strips * row + kernel(channels_, 9));
    height_ /= 2, width_ /= 2;
  }

  int64_t bytes() const { return peak_ * bytes_per_value_; }

 private:
  int64_t area() const { return height_ * width_; }
  int64_t now() const { return channels_ * area(); }
  int64_t kernel(int64_t out, int64_t taps) const { return channels_ * out * taps; }

  struct Strip {
    int64_t values;
    bool is_whole;
  };
  // The rows that a convolution reads, and what it writes or, at the picture's edge, the rows once more with zeros.
  Strip strip(int64_t in, int64_t out) const {
    const int64_t strips = StripLimits().strips(height_, width_, width_ * (in + out) * bytes_per_value_);
    const int64_t rows = (height_ + strips - 1) / strips;
    return {width_ * ((rows + 2) * in + rows * std::max(in, out)), strips == 1};
  }

  void hold(int64_t pictures, int64_t besides) { peak_ = std::max(peak_, input_ + pictures + besides); }

  bool normed_copies_;
  int64_t bytes_per_value_, channels_, height_, width_;
  int64_t input_, peak_ = 0;  // the caller keeps the input
};

void mid_block(Walk& walk, const VaeConfig& config) {
  walk.resnet(config.widths.back());
  if (config.mid_block_attention) walk.attention();
  walk.resnet(config.widths.back());
}

}  // namespace

int64_t decode_bytes(const VaeConfig& config, int64_t height, int64_t width, c10::ScalarType dtype) {
  Walk walk(config.latent_channels, height / config.scale(), width / config.scale(), dtype, Statistics::exact);
  walk.conv_in(config.widths.back());
  mid_block(walk, config);
  for (size_t i = config.widths.size(); i-- > 0;) {
    for (int64_t layer = 0; layer <= config.layers_per_block; ++layer) walk.resnet(config.widths[i]);
    if (i > 0) walk.doubled();
  }
  walk.norm_silu_conv(VaeConfig::kPictureChannels);
  return walk.bytes();
}

int64_t encode_bytes(const VaeConfig& config, int64_t height, int64_t width, c10::ScalarType dtype) {
  Walk walk(VaeConfig::kPictureChannels, height, width, dtype, Statistics::as_aten);
  walk.conv_in(config.widths.front());
  for (size_t i = 0; i < config.widths.size(); ++i) {
    for (int64_t layer = 0; layer < config.layers_per_block; ++layer) walk.resnet(config.widths[i]);
    if (i + 1 < config.widths.size()) walk.halved();
  }
  mid_block(walk, config);
  walk.norm_silu_conv(2 * config.latent_channels);
  return walk.bytes();
}

}  // namespace glmimage
