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

// The fingerprint of the data an earlier part of this run had, or none.
std::optional<uint64_t> earlier_fingerprint(const StageOptions& options) {
  if (!options.resume || !fs::is_directory(options.out / "state")) return std::nullopt;
  std::ifstream stream(options.out / "data_report.json");
  const auto report = nlohmann::json::parse(stream, nullptr, false);
  if (!report.is_object() || !report.contains("fingerprint") || !report["fingerprint"].is_number_unsigned()) {
    return std::nullopt;
  }
  return report["fingerprint"].get<uint64_t>();
}

void write_report(const StageOptions& options, const DataSet& data) {
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) fail(ErrorKind::io, options.out.string(), ": cannot be made: ", error.message());
  data.write_report(options.out / "data_report.json");
}

}  // namespace

DataSet open_data(const StageOptions& options, const Preset& preset, const StageData& stage) {
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
  for (const std::string& line : data.summary()) std::fprintf(stderr, "data: %s\n", line.c_str());
  const auto before = earlier_fingerprint(options);
  if (before && *before != data.fingerprint()) {
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

EncodedOptions encoded_options(const StageOptions& options) {
  const TrainConfig& config = options.config;
  return {.cache = config.cache.empty() ? options.out / "cache" : fs::path(config.cache),
          .workers = config.workers,
          .stop = options.stop};
}

}  // namespace glmimage::train
