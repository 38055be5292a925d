#include "core/error.h"
#include "train/data/data_set.h"

namespace glmimage::train {

using nlohmann::json;

std::vector<std::string> DataSet::failures() const {
  std::lock_guard lock(failures_->mutex);
  return {failures_->messages.begin(), failures_->messages.end()};
}

std::vector<std::string> DataSet::summary() const {
  std::vector<std::string> lines;
  for (const SourceReport& report : reports_) lines.push_back(concat(report.source, ": ", report.summary()));
  for (const Pool& pool : pools_) {
    const int64_t dropped = pool.order->dropped();
    if (dropped == 0) continue;
    lines.push_back(concat(dropped, " visits an epoch are left out, as they fill no batch of ",
                           pool.order->batch_size(), " ('last_batch' is 'drop')"));
  }
  return lines;
}

json DataSet::report() const {
  json sources = json::array(), pools = json::array();
  int64_t held_out = 0;
  for (const Known& each : known_) held_out += each.use == Use::held_out ? 1 : 0;
  for (const SourceReport& report : reports_) sources.push_back(report.to_json());
  for (const Pool& pool : pools_) {
    json buckets = json::array();
    for (const Group& group : pool.groups) {
      json shapes = json::array();
      for (const Bucket& shape : group.shapes) shapes.push_back({shape.width, shape.height});
      buckets.push_back({{"target", shapes[0]}, {"visits", group.visits.size()}});
      if (shapes.size() > 1) buckets.back()["references"] = json(shapes.begin() + 1, shapes.end());
    }
    pools.push_back({{"buckets", buckets},
                     {"batches_in_first_epoch", pool.order->batches_before(1)},
                     {"dropped_visits", pool.order->dropped()}});
  }
  return {{"config", options_.config.to_json()},
          {"batch", options_.batch},
          {"seed", options_.seed},
          {"fingerprint", fingerprint_},
          {"sources", sources},
          {"pools", pools},
          {"held_out", held_out},
          {"broken_while_training", failures()}};
}

void DataSet::write_report(const std::filesystem::path& file) const { glmimage::train::write_report(file, report()); }

}  // namespace glmimage::train
