#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "text/glyph_text.h"
#include "train/losses/flow_loss.h"

namespace glmimage::train {
namespace {

// All strings of all captions, as rows for the encoder.
struct Strings {
  at::Tensor ids;                // (S, L) int64, padded on the right
  at::Tensor mask;               // (S, L) bool
  at::Tensor places;             // (S, L, 2) int64 (glyph_places), anything at padding
  std::vector<int64_t> lengths;  // (S)
  std::vector<int64_t> per_row;  // strings of each caption
};

Strings strings_of(const std::vector<std::string>& captions) {
  const ByteTokenizer tokenizer;
  std::vector<std::vector<int64_t>> all;
  Strings out;
  int64_t longest = 1;
  for (const std::string& caption : captions) {
    auto strings = glyph_ids(tokenizer, caption);
    out.per_row.push_back(static_cast<int64_t>(strings.size()));
    for (auto& ids : strings) {
      out.lengths.push_back(static_cast<int64_t>(ids.size()));
      longest = std::max(longest, out.lengths.back());
      all.push_back(std::move(ids));
    }
  }
  const auto count = static_cast<int64_t>(all.size());
  out.ids = at::zeros({count, longest}, at::kLong);
  out.mask = at::zeros({count, longest}, at::kBool);
  out.places = at::zeros({count, longest, 2}, at::kLong);
  auto ids = out.ids.accessor<int64_t, 2>();
  auto mask = out.mask.accessor<bool, 2>();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t length = out.lengths[static_cast<size_t>(i)];
    out.places[i].narrow(0, 0, length).copy_(glyph_places(length));
    for (int64_t j = 0; j < length; ++j) {
      ids[i][j] = all[static_cast<size_t>(i)][static_cast<size_t>(j)];
      mask[i][j] = true;
    }
  }
  return out;
}

}  // namespace

GlyphBatch encode_glyph_batch(const GlyphEncoder& encoder, const std::vector<std::string>& captions) {
  const Strings strings = strings_of(captions);
  const at::Device device = encoder.device();
  const at::Tensor encoded = encoder.forward(strings.ids.to(device), strings.mask.to(device));  // (S, L, width)
  // Where in the encoder's output each glyph of each row lies.
  const int64_t rows = static_cast<int64_t>(captions.size()), longest = encoded.size(1);
  std::vector<std::vector<int64_t>> places(captions.size());
  size_t string = 0, most = 1;
  for (size_t row = 0; row < captions.size(); ++row) {
    for (int64_t i = 0; i < strings.per_row[row]; ++i, ++string) {
      for (int64_t j = 0; j < strings.lengths[string]; ++j) {
        places[row].push_back(static_cast<int64_t>(string) * longest + j);
      }
    }
    most = std::max(most, places[row].size());
  }
  const auto width = static_cast<int64_t>(most);
  at::Tensor index = at::zeros({rows, width}, at::kLong), mask = at::zeros({rows, width}, at::kBool);
  auto at = index.accessor<int64_t, 2>();
  auto real = mask.accessor<bool, 2>();
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int64_t>& from = places[static_cast<size_t>(row)];
    for (size_t j = 0; j < from.size(); ++j) {
      at[row][static_cast<int64_t>(j)] = from[j];
      real[row][static_cast<int64_t>(j)] = true;
    }
  }
  const at::Tensor in_string = strings.places.flatten(0, 1).index_select(0, index.flatten()).view({rows, width, 2});
  const at::Tensor picked = encoded.flatten(0, 1).index_select(0, index.flatten().to(device));  // (B·G, width)
  return {picked.view({rows, width, encoded.size(2)}), mask.to(device),
          in_string.masked_fill(mask.logical_not().unsqueeze(-1), -1).to(device)};
}

}  // namespace glmimage::train
