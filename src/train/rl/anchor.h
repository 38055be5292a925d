#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "train/data/prefetch.h"
#include "train/losses/flow_loss.h"
#include "train/run.h"
#include "train/stages/stage_data.h"

namespace glmimage::train::rl {

// The usual flow loss on pictures of config.data beside a reward's: what was learned from pictures is not forgotten,
// guidance's unconditional pass among it. With config.rl.anchor 0 it does nothing and reads no data.
class Anchor {
 public:
  // Throws as open_data does.
  Anchor(const StageOptions& options, const Beginning& beginning, const Preset& preset);
  // False when options.stop cut the encoding of its pictures short.
  bool complete() const { return !encoded_ || encoded_->complete(); }
  // The run's passes follow one another from here on.
  void begin(const Run& run);
  // Adds anchor · flow_loss of the next batch to the loss of a pass, and "anchor" to its numbers.
  void add_to(Pass& pass, const FlowModel& model, int64_t number);

 private:
  const StageOptions& options_;
  std::optional<DataSet> data_;
  std::optional<EncodedData> encoded_;
  std::unique_ptr<Prefetch<EncodedBatch>> batches_;
};

}  // namespace glmimage::train::rl
