#pragma once

#include <cstdint>

#include "train/data/data_set.h"
#include "train/data/encoded_data.h"
#include "train/presets.h"
#include "train/stages/stages.h"

namespace glmimage::train {

// How a stage's data differs from another's.
struct StageData {
  int64_t area = 0;       // side of the square its pictures fill, where config.data_config.areas is empty
  int64_t synthetic = 0;  // pictures "synthetic" stands for without a number
};

// Opens config.data, says what it holds, warns when it is not what an earlier part of this run was trained on, and
// writes out/data_report.json. Throws ErrorKind::usage when a source is missing or none of it can be used, before
// anything else is made.
DataSet open_data(const StageOptions& options, const Preset& preset, const StageData& stage);
// The report again, with the pictures that turned out to be broken.
void finish_data(const StageOptions& options, const DataSet& data);

EncodedOptions encoded_options(const StageOptions& options);

}  // namespace glmimage::train
