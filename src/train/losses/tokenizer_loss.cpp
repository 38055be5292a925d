#include "train/losses/tokenizer_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mse_loss.h>

#include <algorithm>
#include <cmath>

#include "train/data/half_size.h"

namespace glmimage::train {
namespace {

// Cells at a quarter of their sides, (B, n, 3·(p/4)²): enough to tell where an object lies and how it is coloured.
at::Tensor coarse_look(const at::Tensor& patches, int64_t patch) {
  const int64_t count = patches.size(0), cells = patches.size(1), side = patch / 4;
  return patches.view({count, cells, 3, side, 4, side, 4}).mean(at::IntArrayRef{4, 6}).flatten(2);
}

double accuracy(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& mask) {
  const at::Tensor right = at::argmax(logits.detach(), -1).eq(labels).logical_and(mask);
  return right.sum().item<double>() / std::max(1.0, mask.sum().item<double>());
}

// Cross entropy of the cells that have a label, as a share of all cells; nothing labelled is no loss.
at::Tensor mean_over_labelled(const at::Tensor& logits, const at::Tensor& labels, double weight) {
  const at::Tensor sum = at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
  return sum * (weight / static_cast<double>(labels.numel()));
}

// The square error of the patches of pictures nobody labelled, as a share of the whole batch.
at::Tensor pixel_loss(const at::Tensor& told, const TokenizerBatch& batch) {
  return ((told - batch.patches).square().mean(at::IntArrayRef{1, 2}) * batch.unlabelled).mean();
}

}  // namespace

TokenizerHeads::TokenizerHeads(const VisionConfig& vision, const VqConfig& vq, int64_t classes, int64_t backgrounds)
    : width(vision.hidden_size),
      name_alone(vq.embed_dim, classes, Bias::yes),
      part_alone(vq.embed_dim, kPartSteps * kPartSteps, Bias::yes),
      background_alone(vq.embed_dim, backgrounds, Bias::yes),
      position(vision.table_side() * vision.table_side(), width),
      block(vision),
      name(width, classes, Bias::yes),
      look(width, vision.patch_values() / 16, Bias::yes),
      pixels(width, vision.patch_values(), Bias::yes) {}

void TokenizerHeads::list(ParameterList& list) {
  name_alone.list(list, "heads.name_alone");
  part_alone.list(list, "heads.part_alone");
  background_alone.list(list, "heads.background_alone");
  position.list(list, "heads.position");
  block.list(list, "heads.block");
  name.list(list, "heads.name");
  look.list(list, "heads.look");
  pixels.list(list, "heads.pixels");
}

TokenizerLosses tokenizer_losses(const VisualTokenizer& model, const TokenizerHeads& heads, const TokenizerBatch& batch,
                                 const TokenizerLossOptions& options) {
  const TokenizerSettings& weights = options.weights;
  const at::Tensor features = model.features(batch.patches, batch.grid, options.activations);  // (B, n, E)
  const Quantized found = model.quantizer.quantize(model.quantizer.project(features));         // (B, n, d)
  const at::Tensor code = options.soft ? found.z : found.z + (found.q - found.z).detach();     // (B, n, d)
  const double root = std::sqrt(static_cast<double>(code.size(-1)));  // unit vectors -> unit entries
  const at::Tensor scaled = code * root;

  const at::Tensor labels = batch.labels.flatten(), shown = labels > 0;                     // (B·n)
  const at::Tensor name_alone = heads.name_alone(scaled).flatten(0, 1);                     // (B·n, classes)
  const at::Tensor parts = batch.parts.flatten(), background = batch.background.flatten();  // (B·n)
  const at::Tensor part_alone = heads.part_alone(scaled).flatten(0, 1);                     // (B·n, parts)
  const at::Tensor background_alone = heads.background_alone(scaled).flatten(0, 1);         // (B·n, backgrounds)
  // post_quant_conv carries codes to the heads that see the whole picture; it stays in the checkpoint, as published.
  const Conv2d& post = model.quantizer.post_quant_conv;
  at::Tensor x = at::linear(scaled, post.weight.flatten(1), post.bias);  // (B, n, E)
  x = heads.block(x + heads.position(position_ids(batch.grid, model.config.vision.table_side())));
  const at::Tensor name = heads.name(x).flatten(0, 1);  // (B·n, classes)
  const at::Tensor look = at::mse_loss(heads.look(x), coarse_look(batch.patches, model.config.vision.patch_size));

  TokenizerLosses out;
  const at::Tensor commit = at::mse_loss(found.z, found.q.detach()) * root * root;
  const at::Tensor codebook = at::mse_loss(found.q, found.z.detach()) * root * root;
  out.total = mean_over_labelled(name_alone, labels, weights.name_alone) +
              mean_over_labelled(name, labels, weights.name) + mean_over_labelled(part_alone, parts, weights.part) +
              mean_over_labelled(background_alone, background, weights.background) + weights.look * look;
  if (!options.soft) out.total = out.total + weights.commit * commit + weights.codebook * codebook;
  if (batch.unlabelled.any().item<bool>()) {
    const at::Tensor pixels = pixel_loss(heads.pixels(x), batch);
    out.total = out.total + weights.pixels * pixels;
    out.pixels = pixels.item<double>();
  }
  out.name_alone = accuracy(name_alone, labels, shown);
  out.name = accuracy(name, labels, shown);
  out.part_alone = accuracy(part_alone, parts, parts >= 0);
  out.background = accuracy(background_alone, background, background >= 0);
  out.look = look.item<double>();
  out.commit = commit.item<double>();
  out.ids = found.ids;
  out.z = found.z.detach().flatten(0, 1);
  return out;
}

}  // namespace glmimage::train
