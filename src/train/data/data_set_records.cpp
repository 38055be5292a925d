#include <map>
#include <utility>

#include "core/error.h"
#include "train/data/data_set.h"

// What is asked of a data set record by record, beside its batches.
namespace glmimage::train {

DataBatch without_padding(DataBatch batch) {
  const auto real = static_cast<size_t>(batch.real);
  if (batch.real < 1) fail(ErrorKind::internal, "a batch of padding alone");
  if (batch.records.size() == real) return batch;
  if (!batch.pictures.empty()) batch.pictures.resize(real);  // of Pixels::none there are none
  for (std::vector<Image>& reference : batch.references) reference.resize(real);
  batch.captions.resize(real);
  batch.framings.resize(real);
  batch.names.resize(real);
  batch.records.resize(real);
  return batch;
}

DataBatch DataSet::picture(int64_t record) const {
  if (record < 0 || record >= size()) fail(ErrorKind::internal, "record ", record, " of ", size(), " was asked for");
  DataBatch batch;
  batch.real = 1;
  add_visit({record, {}, captions(record).empty() ? "" : captions(record)[0]}, Pixels::decoded, batch);
  return batch;
}

DataBatch DataSet::pictures(const std::vector<int64_t>& records, Pixels pixels) const {
  DataBatch batch;
  for (int64_t record : records) {
    try {
      add_visit({record, {}, captions(record).empty() ? "" : captions(record)[0]}, pixels, batch);
      ++batch.real;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage || options_.config.broken_pictures == BrokenPicture::fail) throw;
      note_failure(error.what());
    }
  }
  return batch;
}

std::vector<std::vector<int64_t>> DataSet::lists(Which which, int64_t most) const {
  std::map<std::vector<Bucket>, std::vector<int64_t>> open;
  std::vector<std::vector<int64_t>> lists;
  for (int64_t i = 0; i < size(); ++i) {
    if (known(i).use == Use::none || (which == Which::held_out && known(i).use != Use::held_out)) continue;
    std::vector<int64_t>& list = open[shapes(i)];
    list.push_back(i);
    if (static_cast<int64_t>(list.size()) == most) lists.push_back(std::exchange(list, {}));
  }
  for (auto& [shape, list] : open) {
    if (!list.empty()) lists.push_back(std::move(list));
  }
  return lists;
}

void DataSet::leave_out(const std::set<int64_t>& records) {
  if (records.empty()) return;
  for (int64_t record : records) known_.at(static_cast<size_t>(record)).use = Use::none;
  make_pools();
}

std::string DataSet::identity(int64_t record) const {
  const Known& each = known(record);
  const Source& source = *sources_[each.source];
  std::string identity = concat(static_cast<int>(options_.config.fit), " ", source.identity(each.record->target));
  for (const Picture& picture : each.record->sources) identity += "\n" + source.identity(picture);
  for (const Bucket& shape : each.shapes) identity += concat("\n", shape.width, " ", shape.height);
  return identity;
}

std::optional<CellLabels> DataSet::labels(int64_t record, const Framing& framing, Grid grid) const {
  const Known& each = known(record);
  const Bucket& shape = each.shapes[0];
  const bool whole = framing.resized == PictureSize{shape.width, shape.height} && !framing.mirrored;
  if (!whole) return std::nullopt;
  return sources_[each.source]->label_cells(each.record->target, grid);
}

void DataSet::note_failure(const std::string& message) const {
  std::lock_guard lock(failures_->mutex);
  failures_->messages.insert(message);
}

}  // namespace glmimage::train
