#include "train/losses/flow_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "text/glyph_text.h"

namespace glmimage::train {
namespace {

// The resolution shift of inference (spec: scheduler).
at::Tensor shifted_sigmas(const at::Tensor& times, double mu) { return mu * times / (1.0 + (mu - 1.0) * times); }

// Glyph ids of a batch, right-padded. Every caption of the world quotes at most one word, so a row is one string.
struct GlyphBatch {
  at::Tensor ids;   // (B, G) int64
  at::Tensor mask;  // (B, G) bool
};

GlyphBatch glyph_batch(const std::vector<std::string>& captions, const std::vector<bool>& dropped) {
  const ByteTokenizer tokenizer;
  std::vector<std::vector<int64_t>> rows;
  size_t longest = 1;
  for (size_t i = 0; i < captions.size(); ++i) {
    std::vector<int64_t> row;
    for (const auto& string : glyph_ids(tokenizer, dropped[i] ? "" : captions[i]))
      row.insert(row.end(), string.begin(), string.end());
    longest = std::max(longest, row.size());
    rows.push_back(std::move(row));
  }
  const int64_t count = static_cast<int64_t>(rows.size()), width = static_cast<int64_t>(longest);
  GlyphBatch batch{at::zeros({count, width}, at::kLong), at::zeros({count, width}, at::kBool)};
  auto ids = batch.ids.accessor<int64_t, 2>();
  auto mask = batch.mask.accessor<bool, 2>();
  for (int64_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < rows[static_cast<size_t>(i)].size(); ++j) {
      ids[i][static_cast<int64_t>(j)] = rows[static_cast<size_t>(i)][j];
      mask[i][static_cast<int64_t>(j)] = true;
    }
  }
  return batch;
}

}  // namespace

at::Tensor flow_loss(const FlowModel& model, const CorpusBatch& batch, int64_t side, at::Generator noise,
                     Activations activations) {
  constexpr double kDrop = 0.1;
  const int64_t count = batch.latents.size(0);
  // Times in 0..1, twice as many at 1 as in the middle: shapes are decided while the noise is strong.
  const at::Tensor times = at::rand({count}, noise, at::kFloat).sqrt();  // (B)
  const double tokens = static_cast<double>(batch.prior_ids.size(1));
  const at::Tensor sigmas = shifted_sigmas(times, 0.25 + 0.75 * std::sqrt(tokens / 256.0));  // (B)
  const at::Tensor epsilon = at::randn(batch.latents.sizes(), noise, at::kFloat);            // (B, C, h, w)
  const at::Tensor dropped = at::rand({count}, noise, at::kFloat) < kDrop;                   // (B) bool
  std::vector<bool> drop_list;
  for (int64_t i = 0; i < count; ++i) drop_list.push_back(dropped[i].item<bool>());
  const GlyphBatch glyphs = glyph_batch(batch.captions, drop_list);

  const at::Tensor s = sigmas.view({count, 1, 1, 1});
  DitInput input;
  input.latents = (1 - s) * batch.latents + s * epsilon;
  input.glyphs = model.glyph.forward(glyphs.ids, glyphs.mask);
  input.glyph_mask = glyphs.mask;
  input.prior_ids = batch.prior_ids;
  input.prior_drop = dropped;
  input.timestep = (times * 1000 - 1).clamp_min(0);
  input.target_size = at::full({1, 2}, static_cast<double>(side), at::kFloat);
  input.crop = at::zeros({1, 2}, at::kFloat);
  return at::mse_loss(model.dit.forward(input, nullptr, activations), epsilon - batch.latents);
}

}  // namespace glmimage::train
