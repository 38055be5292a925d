#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>

#include "train/data/data_set.h"
#include "train/data/encoded_data.h"
#include "train/presets.h"
#include "train/run.h"
#include "train/state/beginning.h"

namespace glmimage::train {

// How a stage's data differs from another's.
struct StageData {
  int64_t area = 0;       // side of the square its pictures fill, where config.data_config.areas is empty
  int64_t synthetic = 0;  // pictures "synthetic" stands for without a number
};

// Opens config.data, says what it holds, warns when it is not what the state the run goes on from was trained on, and
// writes out/data_report.json. Throws ErrorKind::usage when a source is missing or none of it can be used.
DataSet open_data(const StageOptions& options, const Beginning& beginning, const Preset& preset,
                  const StageData& stage);
// The report again, with the pictures that turned out to be broken.
void finish_data(const StageOptions& options, const DataSet& data);

// Whether every process has this: what one lacks, none goes on with. All of them call it.
bool everywhere(const StageOptions& options, bool here);

EncodedOptions encoded_options(const StageOptions& options);

// {"loss": mean over the held-out pictures}, or nothing where none are held out. For RunParts::held_out.
nlohmann::json held_out_loss(const DataSet& data, const EncodedData& encoded,
                             const std::function<Pass(const EncodedBatch&)>& pass_of);

}  // namespace glmimage::train
