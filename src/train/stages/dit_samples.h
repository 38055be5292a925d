#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "pipeline/denoise.h"
#include "train/data/encoded_data.h"
#include "train/losses/flow_loss.h"
#include "train/presets.h"
#include "train/stage_options.h"
#include "train/watch/run_log.h"

namespace glmimage::train {

// What stage dit draws to be looked at, each time from the same noise: without config.prompts the first held-out
// pictures, from their own visual tokens; else the prompts, from tokens that the language model of --init draws once,
// here.
class DitSamples {
 public:
  // `vae` must outlive this. Throws ErrorKind::usage when nothing is held out, or there are prompts and no language
  // model.
  DitSamples(const StageOptions& options, const Preset& preset, const DataSet& data, const EncodedData& encoded,
             const LatentEncoder& vae);
  // One sheet: "held_out" with each picture's target on its left, or "prompts".
  std::vector<SamplePicture> draw(const FlowModel& model) const;

 private:
  struct Sample {
    std::string caption;
    VisualTokens tokens;  // of one picture
    std::vector<Reference> references;
    std::optional<Image> target;
  };
  void take_held_out(const DataSet& data, const EncodedData& encoded);
  void take_prompts(const StageOptions& options, const Preset& preset);
  Image draw(const FlowModel& model, const Sample& sample, uint64_t number) const;

  uint64_t seed_;
  at::Device device_;
  const LatentEncoder& vae_;
  std::string name_;
  std::vector<Sample> samples_;
};

}  // namespace glmimage::train
