#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "models/tokens.h"
#include "train/data/cell_labels.h"
#include "train/data/data_config.h"
#include "train/data/data_report.h"
#include "train/data/record.h"

namespace glmimage::train {

// Pictures with captions, from wherever. Immutable; all functions may be called from many threads.
class Source {
 public:
  virtual ~Source() = default;
  virtual const std::vector<Record>& records() const = 0;
  // The pixels of a target or source picture of one of the records, upright. Throws ErrorKind::usage when they are
  // broken.
  virtual Image read(const Picture& picture) const = 0;
  // What tells this picture from any other, and from itself once it was changed: the name of what is cached of it.
  virtual std::string identity(const Picture& picture) const = 0;
  // What the cells of the whole picture show, if the source knows.
  virtual std::optional<CellLabels> label_cells(const Picture&, Grid) const { return std::nullopt; }
};

// What "synthetic" means where it does not say.
struct WorldDefaults {
  int64_t count = 12288;  // pictures
  int64_t size = 0;       // pixels a side; 0: the largest area's
};

// Opens one source of --data and looks at every picture's header:
//   synthetic[:COUNT]       pictures of the synthetic world
//   DIR                     a folder of pictures; of .tar shards when it holds no picture but those; the list
//                           DIR/metadata.jsonl when there is one
//   FILE.jsonl              a list
//   FILE.tar, x-{0..9}.tar  shards
// What is skipped is named in `report`. Throws ErrorKind::usage, saying what was looked for, when the source is missing
// or none of it can be used.
std::unique_ptr<Source> open_source(const std::string& source, const DataConfig& config, uint64_t seed,
                                    SourceReport& report, const WorldDefaults& world = {});

// The synthetic world as a source: picture i is a pure function of the options, the seed and i. Throws ErrorKind::usage
// when its fonts are missing.
std::unique_ptr<Source> open_world_source(int64_t count, uint64_t seed, const world::WorldOptions& options);

}  // namespace glmimage::train
