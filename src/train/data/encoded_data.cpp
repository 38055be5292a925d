#include "train/data/encoded_data.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "train/data/prefetch.h"

namespace glmimage::train {
namespace {

constexpr int64_t kListSize = 64;                    // records of a cache file: what a killed run loses
constexpr int64_t kPixelsAtOnce = int64_t{1} << 20;  // that are encoded together

// Cuts a row's parts off one after the other.
class RowReader {
 public:
  explicit RowReader(at::Tensor rows) : rows_(std::move(rows)) {}
  at::Tensor take(int64_t count) {
    if (at_ + count > rows_.size(1)) {
      fail(ErrorKind::internal, "rows of ", rows_.size(1), " numbers where ", at_ + count, " are expected");
    }
    at_ += count;
    return rows_.slice(1, at_ - count, at_);
  }

 private:
  at::Tensor rows_;
  int64_t at_ = 0;
};

// Of a list's records as many as are decoded and encoded together.
std::vector<std::vector<RecordCache::Item>> portions(const DataSet& data, const std::vector<RecordCache::Item>& list) {
  int64_t pixels = 0;
  for (const Bucket& shape : data.shapes(list[0].record)) pixels += shape.width * shape.height;
  const auto size = static_cast<size_t>(std::max<int64_t>(1, kPixelsAtOnce / pixels));
  std::vector<std::vector<RecordCache::Item>> out;
  for (size_t i = 0; i < list.size(); i += size) {
    out.emplace_back(list.begin() + static_cast<int64_t>(i),
                     list.begin() + static_cast<int64_t>(std::min(list.size(), i + size)));
  }
  return out;
}

std::vector<int64_t> records_of(const std::vector<RecordCache::Item>& items) {
  std::vector<int64_t> records;
  for (const RecordCache::Item& item : items) records.push_back(item.record);
  return records;
}

bool every_visit_is_the_same(const DataConfig& config) { return config.crop == CropAt::centre && config.flip == 0; }

}  // namespace

EncodedData::EncodedData(DataSet& data, std::unique_ptr<TokenEncoder> tokens, std::unique_ptr<LatentEncoder> latents,
                         const EncodedOptions& options)
    : data_(data), tokens_(std::move(tokens)), latents_(std::move(latents)) {
  cached_ = every_visit_is_the_same(data.config());
  if (!cached_) {
    std::fprintf(stderr, "pictures are cropped at random or mirrored: every batch is encoded anew, nothing is kept\n");
    return;
  }
  for (int64_t i = 0; i < data.size(); ++i) keys_.push_back(hash_text(data.identity(i)));
  std::set<int64_t> broken;
  fill(*tokens_, token_cache_, "visual tokens", options, broken);
  if (latents_ && complete_) fill(*latents_, latent_cache_, "latents", options, broken);
  if (complete_) data.leave_out(broken);
}

void EncodedData::fill(const PictureEncoder& encoder, std::unique_ptr<RecordCache>& cache, const char* name,
                       const EncodedOptions& options, std::set<int64_t>& broken) {
  cache = std::make_unique<RecordCache>(options.cache / encoder.key(), encoder.type());
  std::vector<std::vector<RecordCache::Item>> lists;
  for (const std::vector<int64_t>& records : data_.lists(DataSet::Which::all, kListSize)) {
    lists.emplace_back();
    for (int64_t record : records) {
      if (!broken.contains(record)) lists.back().push_back({record, keys_[static_cast<size_t>(record)]});
    }
  }
  const auto make = [&](const std::vector<RecordCache::Item>& list) {
    const auto parts = portions(data_, list);
    Prefetch<DataBatch> batches([&](int64_t i) { return data_.pictures(records_of(parts[static_cast<size_t>(i)])); }, 0,
                                static_cast<int64_t>(parts.size()), 2, static_cast<size_t>(options.workers));
    RecordCache::Made made;
    for (size_t i = 0; i < parts.size(); ++i) {
      const DataBatch batch = batches.next();
      if (batch.records.empty()) continue;
      const at::Tensor rows = encoder.encode(batch);
      for (size_t row = 0; row < batch.records.size(); ++row) {
        const int64_t record = batch.records[row];
        made.items.push_back({record, keys_[static_cast<size_t>(record)]});
        made.rows.push_back(rows[static_cast<int64_t>(row)]);
      }
    }
    return made;
  };
  cache->fill(name, lists, make, options.stop);
  complete_ = !(options.stop && options.stop->load());
  for (int64_t i = 0; i < data_.size(); ++i) {
    if (!cache->has(keys_[static_cast<size_t>(i)])) broken.insert(i);
  }
}

at::Tensor EncodedData::rows(const PictureEncoder& encoder, const RecordCache* cache, const DataBatch& batch) const {
  if (!cache) return encoder.encode(batch);
  std::vector<at::Tensor> rows;
  for (int64_t record : batch.records) rows.push_back(cache->row(keys_[static_cast<size_t>(record)]));
  return at::stack(rows);
}

EncodedBatch EncodedData::encoded(const DataBatch& batch) const {
  EncodedBatch out;
  if (batch.records.empty()) return out;
  out.captions = batch.captions;
  out.framings = batch.framings;
  const std::vector<Bucket>& shapes = data_.shapes(batch.records[0]);
  RowReader ids(rows(*tokens_, token_cache_.get(), batch));
  const auto take_ids = [&](Grid grid) { return ids.take(grid.count()).to(at::kLong); };
  out.target.grid = grid_of(shapes[0]);
  out.target.ids = take_ids(out.target.grid);
  if (shapes.size() == 1) {
    out.draft_grid = draft_grid_of(out.target.grid, tokens_->draft_size());
    out.draft_ids = take_ids(out.draft_grid);
  }
  for (size_t i = 1; i < shapes.size(); ++i) {
    const Grid grid = grid_of(shapes[i]);
    out.references.push_back({grid, take_ids(grid), {}});
  }
  if (!latents_) return out;
  RowReader latents(rows(*latents_, latent_cache_.get(), batch));
  const VaeConfig& vae = latents_->config();
  const auto take_latents = [&](const Bucket& shape) {
    const int64_t h = shape.height / vae.scale(), w = shape.width / vae.scale(), channels = vae.latent_channels;
    return latents.take(channels * h * w).to(at::kFloat).view({out.size(), channels, h, w});
  };
  out.target.latents = take_latents(shapes[0]);
  for (size_t i = 1; i < shapes.size(); ++i) out.references[i - 1].latents = take_latents(shapes[i]);
  return out;
}

EncodedBatch EncodedData::batch(int64_t step) const {
  return encoded(without_padding(data_.batch(step, cached_ ? Pixels::none : Pixels::decoded)));
}

EncodedBatch EncodedData::at(const std::vector<int64_t>& records) const {
  return encoded(data_.pictures(records, cached_ ? Pixels::none : Pixels::decoded));
}

}  // namespace glmimage::train
