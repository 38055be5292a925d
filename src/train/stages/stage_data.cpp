#include "train/stages/stage_data.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/tokens.h"
#include "train/data/data_spec.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

// The fingerprint of the data that the run of the saved state <run>/state/step-N had, or none.
std::optional<uint64_t> fingerprint_before(const fs::path& state) {
  if (state.empty()) return std::nullopt;
  std::ifstream stream(state.parent_path().parent_path() / "data_report.json");
  const auto report = nlohmann::json::parse(stream, nullptr, false);
  if (!report.is_object() || !report.contains("fingerprint") || !report["fingerprint"].is_number_unsigned()) {
    return std::nullopt;
  }
  return report["fingerprint"].get<uint64_t>();
}

void write_report(const StageOptions& options, const DataSet& data) {
  if (options.first()) data.write_report(options.out / "data_report.json");
}

}  // namespace

DataSet open_data(const StageOptions& options, const Beginning& beginning, const Preset& preset,
                  const StageData& stage) {
  const TrainConfig& config = options.config;
  DataOptions data_options{.config = config.data_config,
                           .batch = config.batch,
                           .seed = config.seed,
                           .held_out = config.held_out,
                           .world = {.count = stage.synthetic, .size = preset.picture_size}};
  if (data_options.config.areas.empty()) {
    // Areas are whole visual tokens; a checkpoint may have been made for another size.
    const int64_t tokens = std::max<int64_t>(1, stage.area / kPixelsPerVisualToken);
    data_options.config.areas = {tokens * kPixelsPerVisualToken};
  }
  DataSet data = DataSet::open(parse_data_specs(config.data), data_options);
  if (options.first()) {
    for (const std::string& line : data.summary()) std::fprintf(stderr, "data: %s\n", line.c_str());
  }
  const auto before = fingerprint_before(beginning.state);
  if (options.first() && before && *before != data.fingerprint()) {
    std::fprintf(stderr, "warning: the data is not what this run began with; from here on its batches differ\n");
  }
  write_report(options, data);
  return data;
}

void finish_data(const StageOptions& options, const DataSet& data) {
  for (const std::string& failure : data.failures()) {
    std::fprintf(stderr, "warning: a picture was left out: %s\n", failure.c_str());
  }
  write_report(options, data);
}

bool everywhere(const StageOptions& options, bool here) {
  if (!options.group) return here;
  const std::vector<std::string> all = options.group->all_gather_text(here ? "1" : "0", "the others to get ready");
  return std::all_of(all.begin(), all.end(), [](const std::string& each) { return each == "1"; });
}

EncodedOptions encoded_options(const StageOptions& options) {
  const TrainConfig& config = options.config;
  return {.cache = config.cache.empty() ? options.out / "cache" : fs::path(config.cache),
          .workers = config.workers,
          .stop = options.stop};
}

nlohmann::json held_out_loss(const DataSet& data, const EncodedData& encoded,
                             const std::function<Pass(const EncodedBatch&)>& pass_of) {
  double total = 0, weight = 0;
  for (const std::vector<int64_t>& records : data.lists(DataSet::Which::held_out, 32)) {
    const EncodedBatch batch = encoded.at(records);
    if (batch.size() == 0) continue;
    const Pass pass = pass_of(batch);
    total += pass.weight * pass.loss.item<double>();
    weight += pass.weight;
  }
  if (weight == 0) return nlohmann::json::object();
  return {{"loss", total / weight}};
}

}  // namespace glmimage::train
