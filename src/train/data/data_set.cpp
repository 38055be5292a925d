#include "train/data/data_set.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "core/error.h"
#include "train/random.h"

namespace glmimage::train {
namespace {

constexpr int64_t kMostTries = 16;  // replacements in a row before the data is given up

// Draws of one row: a counter over derive_seed.
class RowChances {
 public:
  explicit RowChances(uint64_t seed) : seed_(seed) {}
  double share() { return static_cast<double>(derive_seed(seed_, Stream::augment, next_++) >> 11) * 0x1p-53; }

 private:
  uint64_t seed_, next_ = 0;
};

// FNV-1a over what the order and the pictures depend on.
class Fingerprint {
 public:
  void add(const std::string& text) {
    for (char c : text) add_byte(static_cast<uint8_t>(c));
    add_byte(0);
  }
  void add(const Picture& picture) {
    add(picture.name);
    add(concat(picture.bytes.offset, " ", picture.bytes.size, " ", picture.size.width, " ", picture.size.height));
  }
  uint64_t value() const { return hash_; }

 private:
  void add_byte(uint8_t byte) { hash_ = (hash_ ^ byte) * 0x100000001b3; }
  uint64_t hash_ = 0xcbf29ce484222325;
};

// The buckets of a record: references go to the target's area, so that a picture of its shape gets its bucket.
std::optional<std::vector<Bucket>> shapes_of(const BucketTable& table, const Record& record) {
  const std::optional<int64_t> area = table.choose_area(record.target.size);
  if (!area) return std::nullopt;
  std::vector<Bucket> shapes = {table.nearest(*area, record.target.size)};
  for (const Picture& source : record.sources) shapes.push_back(table.nearest(*area, source.size));
  return shapes;
}

}  // namespace

DataSet DataSet::open(const std::vector<DataSpec>& specs, const DataOptions& options) {
  if (specs.empty()) fail(ErrorKind::usage, "no data is given: --data SRC");
  DataSet set;
  set.options_ = options;
  Fingerprint fingerprint;
  fingerprint.add(
      concat(options.config.to_json().dump(), " ", options.batch, " ", options.seed, " ", options.held_out));
  std::vector<double> weights;
  bool weighted = false;
  for (const DataSpec& spec : specs) {
    SourceReport report;
    set.sources_.push_back(open_source(spec.source, options.config, options.seed, report, options.world));
    set.reports_.push_back(std::move(report));
    weights.push_back(spec.weight.value_or(1));
    weighted = weighted || spec.weight.has_value();
    fingerprint.add(concat(spec.weight.value_or(0)));
    for (const Record& record : set.sources_.back()->records()) {
      fingerprint.add(record.target);
      for (const Picture& source : record.sources) fingerprint.add(source);
      for (const std::string& caption : record.captions) fingerprint.add(caption);
      fingerprint.add(concat(record.repeats));
    }
    set.admit(set.sources_.size() - 1);
  }
  set.fingerprint_ = fingerprint.value();
  set.hold_out();
  std::vector<size_t> all(specs.size());
  std::iota(all.begin(), all.end(), size_t{0});
  if (weighted && specs.size() > 1) {
    for (size_t source : all) set.pool_sources_.push_back({source});
    set.mix_ = std::make_unique<MixSchedule>(weights, options.seed);
  } else {
    set.pool_sources_.push_back(all);
  }
  set.make_pools();
  return set;
}

void DataSet::admit(size_t source) {
  const BucketTable table(options_.config);
  SourceReport& report = reports_[source];
  for (const Record& record : sources_[source]->records()) {
    auto shapes = shapes_of(table, record);
    if (!shapes) {
      report.skip(Skip::too_small, record.target.name, "fills no bucket and 'small_pictures' is 'skip'");
      --report.used;
      continue;
    }
    known_.push_back({source, &record, std::move(*shapes)});
  }
  if (report.used == 0) {
    fail(ErrorKind::usage, "--data ", report.source, ": nothing of it can be used: ", report.summary());
  }
}

void DataSet::hold_out() {
  if (options_.held_out <= 0) return;
  size_t end = 0;
  for (const SourceReport& report : reports_) {
    end += static_cast<size_t>(report.used);
    const double share = static_cast<double>(report.used) / static_cast<double>(size());
    const int64_t wanted = std::llround(static_cast<double>(options_.held_out) * share);
    const auto count = static_cast<size_t>(std::min(wanted, report.used / 8));
    for (size_t i = end - count; i < end; ++i) known_[i].use = Use::held_out;
  }
}

void DataSet::make_pools() {
  pools_.clear();
  for (size_t number = 0; number < pool_sources_.size(); ++number) {
    pools_.push_back(make_pool(pool_sources_[number], number));
  }
}

DataSet::Pool DataSet::make_pool(const std::vector<size_t>& sources, uint64_t number) const {
  std::map<std::vector<Bucket>, std::vector<int64_t>> groups;
  for (int64_t i = 0; i < size(); ++i) {
    const Known& each = known(i);
    if (each.use != Use::training || std::find(sources.begin(), sources.end(), each.source) == sources.end()) continue;
    std::vector<int64_t>& visits = groups[each.shapes];
    visits.insert(visits.end(), static_cast<size_t>(each.record->repeats), i);
  }
  Pool pool;
  std::vector<int64_t> sizes;
  for (auto& [shapes, visits] : groups) {
    sizes.push_back(static_cast<int64_t>(visits.size()));
    pool.groups.push_back({shapes, std::move(visits)});
  }
  const uint64_t seed = derive_seed(options_.seed, Stream::order, number);
  pool.order = std::make_unique<BatchOrder>(sizes, options_.batch, options_.config.last_batch, seed);
  return pool;
}

DataBatch DataSet::batch(int64_t step, Pixels pixels) const {
  const MixSchedule::Turn turn = mix_ ? mix_->at(step) : MixSchedule::Turn{0, step};
  const Pool& pool = pools_[static_cast<size_t>(turn.source)];
  const BatchRows rows = pool.order->at(turn.index);
  const Group& group = pool.groups[static_cast<size_t>(rows.group)];
  DataBatch batch;
  batch.epoch = rows.epoch;
  batch.real = rows.real;
  const uint64_t seed = derive_seed(options_.seed, Stream::augment, static_cast<uint64_t>(step));
  for (size_t row = 0; row < rows.entries.size(); ++row) {
    add_row(group, rows.entries[row], derive_seed(seed, Stream::augment, row), pixels, batch);
  }
  return batch;
}

void DataSet::add_row(const Group& group, int64_t entry, uint64_t seed, Pixels pixels, DataBatch& batch) const {
  const int64_t count = static_cast<int64_t>(group.visits.size());
  for (int64_t tried = 0;; ++tried) {
    const int64_t record = group.visits[static_cast<size_t>((entry + tried) % count)];
    try {
      return add_visit(draw_visit(record, seed), pixels, batch);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage || options_.config.broken_pictures == BrokenPicture::fail) throw;
      note_failure(error.what());
      if (tried + 1 >= std::min(kMostTries, count)) {
        fail(ErrorKind::usage, tried + 1, " pictures in a row are broken, the last: ", error.what());
      }
    }
  }
}

DataSet::Visit DataSet::draw_visit(int64_t record, uint64_t seed) const {
  const DataConfig& config = options_.config;
  const std::vector<std::string>& captions = this->captions(record);
  RowChances draw(seed);
  Visit visit{record, {}, {}};
  const double across = draw.share(), down = draw.share();  // always drawn: settings must not shift the later ones
  if (config.crop == CropAt::random) visit.chances = {across, down};
  visit.chances.mirrored = draw.share() < config.flip;
  const double which = draw.share(), kept = draw.share();
  if (!captions.empty() && kept >= config.caption_dropout) {
    visit.caption = captions[static_cast<size_t>(which * static_cast<double>(captions.size()))];
  }
  return visit;
}

void DataSet::add_visit(const Visit& visit, Pixels pixels, DataBatch& batch) const {
  const Known& each = known(visit.record);
  const Record* record = each.record;
  const std::vector<Bucket>& shapes = each.shapes;
  const Source* source = sources_[each.source].get();
  const Fit fit = options_.config.fit;
  Framing framing = plan_framing(record->target.size, shapes[0], fit, visit.chances);
  if (pixels == Pixels::decoded) {
    std::vector<Image> references;  // everything is read before the batch is touched: reading may fail
    for (size_t i = 0; i < record->sources.size(); ++i) {
      const Image image = source->read(record->sources[i]);
      references.push_back(frame_picture(image, shapes[i + 1], fit, visit.chances).image);
    }
    FramedPicture framed = frame_picture(source->read(record->target), shapes[0], fit, visit.chances);
    framing = framed.framing;
    batch.pictures.push_back(std::move(framed.image));
    batch.references.resize(references.size());
    for (size_t i = 0; i < references.size(); ++i) batch.references[i].push_back(std::move(references[i]));
  }
  batch.framings.push_back(framing);
  batch.captions.push_back(visit.caption);
  batch.names.push_back(record->target.name);
  batch.records.push_back(visit.record);
}

}  // namespace glmimage::train
