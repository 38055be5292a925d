#pragma once

#include <c10/core/Device.h>

#include <atomic>
#include <filesystem>
#include <memory>

#include "train/config/train_config.h"
#include "train/distributed/process_group.h"

namespace glmimage::train {

// Which saved state a run begins with.
struct Resume {
  enum class From {
    newest,  // the newest state in the run's own folder, when there is one
    never,   // none: what the folder holds of an earlier run is set aside
    folder,  // `folder`'s: another run's, or one state itself. Once the run has states of its own, the newest of those
  };
  From from = From::newest;
  std::filesystem::path folder = {};
};

// What a stage is told: its settings, and where things are on this machine.
struct StageOptions {
  TrainConfig config;
  std::filesystem::path out;   // the run's folder; the result lands in out/final
  std::filesystem::path init;  // a checkpoint, or the folder `final` of a stage, to go on from; empty: random numbers
  std::filesystem::path vae, tokenizer;  // folders of finished parts that a later stage builds on; empty: those of init
  Resume resume;
  at::Device device = at::Device(at::kCPU);
  const std::atomic<bool>* stop = nullptr;  // set by a signal: save and return
  // The processes that train together, all given the same options; null: this one alone. Rank 0 alone writes files,
  // but for caches and its pieces of a saved state, and alone speaks.
  std::shared_ptr<ProcessGroup> group = nullptr;

  bool first() const { return !group || group->first(); }
};

}  // namespace glmimage::train
