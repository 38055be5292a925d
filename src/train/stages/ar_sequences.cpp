#include "train/stages/ar_sequences.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include <algorithm>

#include "models/ar/positions.h"
#include "pipeline/prior.h"

namespace glmimage::train {
namespace {

struct Sequence {
  std::vector<int64_t> ids;
  PositionTable positions;
  int64_t draft = 0, picture = 0;  // where their ids begin
};

PromptGrid prompt_grid(Grid grid) { return {grid.height, grid.width}; }

// The prompt, with the sources' ids in it, and the grids in the order positions want them.
std::vector<int64_t> make_prompt(const ArConfig& config, const ChatTemplate& chat, const EncodedBatch& batch,
                                 int64_t row, std::vector<Grid>& grids) {
  PromptParts parts;
  parts.text = batch.captions[static_cast<size_t>(row)];
  parts.target = prompt_grid(batch.target.grid);
  std::vector<VisualTokens> sources;
  for (const EncodedPictures& reference : batch.references) {
    parts.sources.push_back(prompt_grid(reference.grid));
    sources.push_back({reference.grid, reference.ids[row].unsqueeze(0)});
    grids.push_back(reference.grid);
  }
  grids.push_back(batch.target.grid);
  if (batch.references.empty()) {
    parts.draft = prompt_grid(batch.draft_grid);
    grids.push_back(batch.draft_grid);
  }
  return place_sources(chat.build(parts).ids, sources, config.image_placeholder_id);
}

Sequence make_sequence(const ArConfig& config, const ChatTemplate& chat, const EncodedBatch& batch, int64_t row) {
  Sequence out;
  std::vector<Grid> grids;
  out.ids = make_prompt(config, chat, batch, row, grids);
  const ArPositions positions = ar_positions(out.ids, grids, {config.begin_image_id, config.end_image_id});
  out.positions = positions.prefill;
  out.positions.append(positions.decode);  // its closing entry is the end id's place
  const auto append = [&](const at::Tensor& ids) {
    const int64_t* values = ids.const_data_ptr<int64_t>();
    out.ids.insert(out.ids.end(), values, values + ids.numel());
  };
  out.draft = static_cast<int64_t>(out.ids.size());
  if (batch.draft_ids.defined()) append(batch.draft_ids[row].contiguous());
  out.picture = static_cast<int64_t>(out.ids.size());
  append(batch.target.ids[row].contiguous());
  out.ids.push_back(config.end_image_id);
  return out;
}

}  // namespace

SequenceBatch make_sequences(const ArConfig& config, const ChatTemplate& chat, const EncodedBatch& batch,
                             double draft_weight) {
  std::vector<Sequence> rows;
  size_t longest = 0;
  for (int64_t row = 0; row < batch.size(); ++row) {
    rows.push_back(make_sequence(config, chat, batch, row));
    longest = std::max(longest, rows.back().ids.size());
  }
  // The model reads all ids but the last.
  const int64_t count = batch.size(), width = static_cast<int64_t>(longest) - 1;
  SequenceBatch out{at::full({count, width}, config.end_image_id, at::kLong),
                    {},
                    at::full({count, width}, -100, at::kLong),
                    at::ones({count, width}, at::kFloat)};
  auto ids = out.ids.accessor<int64_t, 2>(), targets = out.targets.accessor<int64_t, 2>();
  auto weights = out.weights.accessor<float, 2>();
  std::vector<PositionTable> positions;
  for (int64_t i = 0; i < count; ++i) {
    Sequence& row = rows[static_cast<size_t>(i)];
    for (int64_t t = 0; t + 1 < static_cast<int64_t>(row.ids.size()); ++t) {
      ids[i][t] = row.ids[static_cast<size_t>(t)];
      if (t + 1 >= row.draft) targets[i][t] = row.ids[static_cast<size_t>(t) + 1];
      if (t + 1 >= row.draft && t + 1 < row.picture) weights[i][t] = static_cast<float>(draft_weight);
    }
    positions.push_back(std::move(row.positions));
  }
  out.positions = positions_tensor(positions).narrow(2, 0, width);
  return out;
}

}  // namespace glmimage::train
