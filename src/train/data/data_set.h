#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "train/data/batch_order.h"
#include "train/data/data_spec.h"
#include "train/data/framing.h"
#include "train/data/mix_schedule.h"
#include "train/data/source.h"

namespace glmimage::train {

// One batch: every row has the same shapes.
struct DataBatch {
  int64_t epoch = 0;                           // of the source it comes from
  std::vector<Image> pictures;                 // (B) of one bucket
  std::vector<std::vector<Image>> references;  // [source picture][row]; empty but for editing pairs
  std::vector<std::string> captions;           // (B); "" where dropped
  std::vector<Framing> framings;               // (B) of the pictures
  std::vector<std::string> names;              // (B)
  std::vector<int64_t> records;                // (B) numbers below DataSet::size(), for caches
  int64_t real = 0;  // rows from here on are padding (LastBatch::pad): keep them out of losses
};

// The rows that are no padding. Throws ErrorKind::internal when there are none.
DataBatch without_padding(DataBatch batch);

enum class Pixels { decoded, none };  // none: all of a batch but its pictures and references, without opening a file

struct DataOptions {
  DataConfig config;
  int64_t batch = 1;
  uint64_t seed = 1;
  // Records kept from training: the last of every source, by its share of all, at most an eighth of it.
  int64_t held_out = 0;
  WorldDefaults world = {};
};

// Everything --data names, ready to train on. How a stage plugs in:
//
//   const DataSet data = DataSet::open(parse_data_specs(values), {.config = config, .batch = batch, .seed = seed});
//   data.write_report(out / "data_report.json");
//   Prefetch<DataBatch> batches([&](int64_t step) { return data.batch(step); }, run.first_step(), steps, 3, workers);
//   for (…) { const DataBatch batch = batches.next(); … batches.wait_share() … }
//
// - VAE: Fit::window, CropAt::random, one small area, CaptionRule::optional; vae_pixels(batch.pictures).
// - tokenizer: Fit::cover; half_size_patches(batch.pictures, grid of the bucket, …); labels() for naming.
// - AR and DiT: encoded_data.h, which looks up what was encoded once, or encodes batch by batch.
// - Several processes: rank r of n takes batch(step * n + r).
// - Saved states need the step alone: batch(step) is a pure function of data, options and step. fingerprint() tells
//   whether a run that goes on still has the data it began with.
//
// Sources without weights are one pool: every epoch visits each record `repeats` times. As soon as one has a weight
// (the others then have 1), each batch comes from one source, drawn by weight, and each source counts its own epochs.
class DataSet {
 public:
  // The pass over all headers. Throws ErrorKind::usage when a source is missing or none of it can be used.
  static DataSet open(const std::vector<DataSpec>& specs, const DataOptions& options);

  // Reads and decodes the batch of a step. May be called from many threads. A picture whose pixels turn out to be
  // broken is replaced by another of its group and named in failures(); under BrokenPicture::fail, and when a whole row
  // of tries fails, this throws ErrorKind::usage.
  DataBatch batch(int64_t step, Pixels pixels = Pixels::decoded) const;
  // A batch of one: a record by its number, not mirrored, its middle where something is cut off, its first caption.
  DataBatch picture(int64_t record) const;
  // The same of several records of one shape. Broken ones are left out and named in failures(); under
  // BrokenPicture::fail this throws.
  DataBatch pictures(const std::vector<int64_t>& records, Pixels pixels = Pixels::decoded) const;

  // Records in lists of one shape, at most `most` each: those that are held out, or all.
  enum class Which { held_out, all };
  std::vector<std::vector<int64_t>> lists(Which which, int64_t most) const;
  // Never trains on these records (their pixels are broken): as if they had not been there.
  void leave_out(const std::set<int64_t>& records);
  // Of a record: the buckets of its target and its references; what names it in a cache, these shapes included; its
  // captions; what the cells of the framed picture show, if its source knows and nothing of it was cut off or mirrored.
  const std::vector<Bucket>& shapes(int64_t record) const { return known(record).shapes; }
  std::string identity(int64_t record) const;
  const std::vector<std::string>& captions(int64_t record) const { return known(record).record->captions; }
  std::optional<CellLabels> labels(int64_t record, const Framing& framing, Grid grid) const;

  const DataConfig& config() const { return options_.config; }
  int64_t size() const { return static_cast<int64_t>(known_.size()); }  // records, those held out included
  uint64_t fingerprint() const { return fingerprint_; }
  const std::vector<SourceReport>& sources() const { return reports_; }
  std::vector<std::string> failures() const;  // broken pictures met while training, sorted
  // Lines for people: one a source, and what the buckets leave out.
  std::vector<std::string> summary() const;
  nlohmann::json report() const;
  void write_report(const std::filesystem::path& file) const;

 private:
  enum class Use { training, held_out, none };
  struct Known {
    size_t source;
    const Record* record;
    std::vector<Bucket> shapes;  // of the target, then of the references
    Use use = Use::training;
  };
  // Records that share their shapes.
  struct Group {
    std::vector<Bucket> shapes;
    std::vector<int64_t> visits;  // record numbers, one for each repeat
  };
  // One look at one record.
  struct Visit {
    int64_t record = 0;
    Chances chances;
    std::string caption;
  };
  struct Pool {
    std::vector<Group> groups;
    std::unique_ptr<BatchOrder> order;
  };
  struct Failures {
    std::mutex mutex;
    std::set<std::string> messages;
  };

  const Known& known(int64_t record) const { return known_.at(static_cast<size_t>(record)); }
  void admit(size_t source);
  void hold_out();
  void make_pools();
  Pool make_pool(const std::vector<size_t>& sources, uint64_t number) const;
  void note_failure(const std::string& message) const;
  Visit draw_visit(int64_t record, uint64_t seed) const;
  void add_row(const Group& group, int64_t entry, uint64_t seed, Pixels pixels, DataBatch& batch) const;
  void add_visit(const Visit& visit, Pixels pixels, DataBatch& batch) const;

  DataOptions options_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<SourceReport> reports_;
  std::vector<Known> known_;
  std::vector<std::vector<size_t>> pool_sources_;
  std::vector<Pool> pools_;
  std::unique_ptr<MixSchedule> mix_;  // none: one pool
  uint64_t fingerprint_ = 0;
  std::unique_ptr<Failures> failures_ = std::make_unique<Failures>();
};

}  // namespace glmimage::train
