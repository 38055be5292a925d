#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/parameters.h"
#include "train/optim/adam_w.h"

namespace glmimage::train {

// What every stage's run is told.
struct RunOptions {
  std::filesystem::path out;  // the run's folder; the result lands in out/final
  int64_t steps = 1000;
  int64_t batch = 32;
  double learning_rate = 1e-3;
  int64_t warmup = 100;
  double ema_decay = 0.999;
  AdamWOptions optimiser;
  int64_t save_every = 500;  // steps between saved states; the last two are kept
  int64_t log_every = 20;    // steps between lines on stderr; metrics.jsonl gets every step
  uint64_t seed = 1;
  bool resume = true;                       // go on from the newest state in out/state, when there is one
  const std::atomic<bool>* stop = nullptr;  // set by a signal: save and return
};

// The furniture of a training loop: optimiser, EMA, learning rate, metrics, saved states. A stage's loop owns the
// model, the batch and the loss, and calls this between them.
class Run {
 public:
  // `trained` gets gradients, optimiser state and an EMA; `buffers` are saved and restored beside it. Both point into
  // the stage's modules, which must be initialised and stay in place.
  Run(const std::string& stage, RunOptions options, ParameterList trained, ParameterList buffers = {});

  int64_t first_step() const { return first_step_; }
  bool running(int64_t step) const { return step < options_.steps && !stopping(); }
  bool stopping() const { return options_.stop && options_.stop->load(); }
  // Back-propagates `loss` and updates the parameters. A step with a non-finite gradient changes nothing and is
  // counted; ten in a row end the run with ErrorKind::internal.
  void optimise(int64_t step, const at::Tensor& loss);
  // One line of JSON in metrics.jsonl, and now and then one on stderr with rate and time left.
  void log(int64_t step, nlohmann::json values);
  // Saves the state when it is due or the run is stopping. `step` is the step just finished.
  void save_when_due(int64_t step);
  // What was measured at the end: one line on stderr and one in metrics.jsonl.
  void note(const nlohmann::json& values);
  // Puts the averaged weights into the modules. Call once, after the loop.
  void apply_ema() { ema_.apply(); }
  const RunOptions& options() const { return options_; }

 private:
  void save(int64_t next_step);
  void restore();
  std::string stage_;
  RunOptions options_;
  ParameterList trained_, buffers_;
  AdamW optimiser_;
  Ema ema_;
  std::ofstream metrics_;
  int64_t first_step_ = 0;
  int64_t skipped_in_a_row_ = 0, skipped_ = 0;
  UpdateReport last_update_;
  double last_rate_ = 0;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace glmimage::train
