#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/parameters.h"
#include "models/layers/recompute.h"
#include "train/optim/adam_w.h"
#include "train/state/beginning.h"
#include "train/state/saved_states.h"
#include "train/watch/run_log.h"

namespace glmimage::train {

// One batch seen once.
struct Pass {
  at::Tensor loss;             // () with its gradient: the mean over what the batch holds
  nlohmann::json values = {};  // more numbers for the log, by name
  double weight = 1;  // how much it counts among the passes of one update: what its mean was taken over, like tokens
};
using PassFunction = std::function<Pass(int64_t pass)>;

// The setting `recompute` in the models' terms.
inline Activations activations_of(const TrainConfig& config) {
  return config.recompute ? Activations::recompute : Activations::keep;
}

// What a stage gives its run. The lists point into the stage's modules, which must be initialised and stay in place.
struct RunParts {
  ParameterList trained;         // get gradients, optimiser state and an average
  ParameterList buffers = {};    // saved and restored beside them
  Foundations foundations = {};  // saved, for check_foundations
  // Numbers measured on held-out data, and pictures; called without gradients, with the averaged weights in place. They
  // must draw no random numbers that training draws. Empty: this stage has none, and asking for it is an error.
  std::function<nlohmann::json()> held_out = nullptr;
  std::function<std::vector<SamplePicture>()> samples = nullptr;
};

// The furniture of a training loop: optimiser, average, learning rate, log, saved states. A stage's loop owns the
// model, the batch and the loss, and calls this between them.
class Run {
 public:
  // Puts the weights on the run's device and restores the state that `beginning` names.
  Run(const StageOptions& options, Beginning beginning, RunParts parts);

  int64_t first_step() const { return beginning_.step; }
  // Updates number `steps`, passes number steps · accumulate: what a pass draws is a function of its number.
  int64_t first_pass() const { return beginning_.step * config_.accumulate; }
  int64_t end_pass() const { return config_.steps * config_.accumulate; }
  // Whether there is a step to do. Saves the state when the run was told to stop since it was last saved.
  bool running(int64_t step);
  bool stopping() const { return stop_ && stop_->load(); }
  // One update: calls `pass_of` for each of its passes under the run's precision, back-propagates, updates. The
  // gradient is that of one batch as large as all passes. Returns the weighted means of the passes' numbers and "loss".
  // A non-finite gradient changes nothing and is counted; too many in a row end the run with ErrorKind::internal.
  nlohmann::json update(int64_t step, const PassFunction& pass_of);
  // One line of JSON in metrics.jsonl, and now and then one on stderr with rate and time left.
  void log(int64_t step, nlohmann::json values);
  // Measures, draws and saves where it is due. `step` is the step just finished.
  void finish_step(int64_t step);
  // What was measured at the end: one line on stderr and one in metrics.jsonl.
  void note(const nlohmann::json& values) { log_.note(values); }
  // The same of RunParts::held_out, each number's name with "held_out_" before it; nothing where none came.
  void note_held_out();
  // Puts the averaged weights into the modules. Call once, after the loop.
  void apply_ema() { ema_.apply(); }

 private:
  Pass forward(int64_t pass, const PassFunction& pass_of) const;
  double learning_rate(int64_t step) const;
  void count_skipped(int64_t step);
  void watch(int64_t step, bool held_out, bool samples);
  void save(int64_t next_step);
  void restore();

  TrainConfig config_;
  Beginning beginning_;
  RunParts parts_;
  at::Device device_;
  const std::atomic<bool>* stop_;
  SavedStates states_;
  AdamW optimiser_;
  Ema ema_;
  RunLog log_;
  UpdateReport last_update_;
  double last_rate_ = 0;
  int64_t skipped_ = 0, skipped_in_a_row_ = 0;
  int64_t saved_ = 0;  // the step the newest state stands before
};

}  // namespace glmimage::train
