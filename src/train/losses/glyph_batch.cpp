#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
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
  auto ids = out.ids.accessor<int64_t, 2>();
  auto mask = out.mask.accessor<bool, 2>();
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < out.lengths[static_cast<size_t>(i)]; ++j) {
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
  std::vector<std::vector<at::Tensor>> in_strings(captions.size());  // glyph_places of each string
  size_t string = 0, most = 1;
  for (size_t row = 0; row < captions.size(); ++row) {
    for (int64_t i = 0; i < strings.per_row[row]; ++i, ++string) {
      in_strings[row].push_back(glyph_places(strings.lengths[string]));
      for (int64_t j = 0; j < strings.lengths[string]; ++j) {
        places[row].push_back(static_cast<int64_t>(string) * longest + j);
      }
    }
    most = std::max(most, places[row].size());
  }
  const auto width = static_cast<int64_t>(most);
  at::Tensor index = at::zeros({rows, width}, at::kLong), mask = at::zeros({rows, width}, at::kBool);
  const at::Tensor in_string = at::full({rows, width, 2}, -1, at::kLong);
  auto at = index.accessor<int64_t, 2>();
  auto real = mask.accessor<bool, 2>();
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int64_t>& from = places[static_cast<size_t>(row)];
    if (!from.empty()) {
      in_string[row]
          .narrow(0, 0, static_cast<int64_t>(from.size()))
          .copy_(at::cat(in_strings[static_cast<size_t>(row)]));
    }
    for (size_t j = 0; j < from.size(); ++j) {
      at[row][static_cast<int64_t>(j)] = from[j];
      real[row][static_cast<int64_t>(j)] = true;
    }
  }
  const at::Tensor picked = encoded.flatten(0, 1).index_select(0, index.flatten().to(device));  // (B·G, width)
  return {picked.view({rows, width, encoded.size(2)}), mask.to(device), in_string.to(device)};
}

}  // namespace glmimage::train
