#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/parameters.h"
#include "models/layers/recompute.h"
#include "train/data/prefetch.h"
#include "train/distributed/data_parallel.h"
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
  // Layers whose weights Sharding::zero3 gathers one by one. Those of other modules stay in memory for a whole pass.
  std::vector<LayerStack> stacks = {};
  // Numbers measured on held-out data, and pictures; called without gradients, with the averaged weights in place. They
  // must draw no random numbers that training draws. Empty: this stage has none, and asking for it is an error.
  std::function<nlohmann::json()> held_out = nullptr;
  std::function<std::vector<SamplePicture>()> samples = nullptr;
};

// The furniture of a training loop: optimiser, average, learning rate, log, saved states. A stage's loop owns the
// model, the batch and the loss, and calls this between them.
//
// Several processes (StageOptions::group) share the passes of an update: of `accumulate` passes, rank r of n has the
// r-th n-th, one behind the other. What a pass draws depends on its number alone, and gradients and logged numbers are
// weighted over all of them, so an update is that of one process. Everything else runs on all ranks alike, and what
// they decide (to stop, to skip an update) they decide together.
class Run {
 public:
  // Puts the weights on the run's device and restores the state that `beginning` names.
  Run(const StageOptions& options, Beginning beginning, RunParts parts);

  int64_t first_step() const { return beginning_.step; }
  // The batches of this process's passes, made ahead of time by config.workers threads, in the order in which update
  // asks for them. `make` is a pure function of the pass's number, below steps · accumulate.
  template <typename Batch>
  Prefetch<Batch> prefetch(std::function<Batch(int64_t pass)> make) const {
    const Passes passes = passes_;
    return Prefetch<Batch>([passes, make = std::move(make)](int64_t turn) { return make(passes.number(turn)); },
                           beginning_.step * passes.own, config_.steps * passes.own, 3,
                           static_cast<size_t>(config_.workers));
  }
  // Whether there is a step to do. Saves the state when the run was told to stop since it was last saved.
  bool running(int64_t step);
  bool stopping() const { return parallel_ ? agreed_to_stop_ : stop_ && stop_->load(); }
  // One update: calls `pass_of` for each of its passes under the run's precision, back-propagates, updates. The
  // gradient is that of one batch as large as all passes. Returns the weighted means of the passes' numbers and "loss".
  // A non-finite gradient changes nothing and is counted; too many in a row end the run with ErrorKind::internal.
  nlohmann::json update(int64_t step, const PassFunction& pass_of);
  // One line of JSON in metrics.jsonl, and now and then one on stderr with rate and time left.
  void log(int64_t step, nlohmann::json values);
  // Measures, draws and saves where it is due. `step` is the step just finished.
  void finish_step(int64_t step);
  // What was measured at the end: one line on stderr and one in metrics.jsonl.
  void note(const nlohmann::json& values) {
    if (log_) log_->note(values);
  }
  // The same of RunParts::held_out, each number's name with "held_out_" before it; nothing where none came.
  void note_held_out();
  // Changes weights outside the layers' stacks between two updates, alike in all processes.
  void change_weights(const std::function<void()>& change);
  // Tensors that differ in their number of rows alone, one for each pass of this process in the last update -> those of
  // all passes of the update, in their order; on the CPU, where several processes share them.
  std::vector<at::Tensor> of_all_passes(const std::vector<at::Tensor>& own) const;
  // Puts the averaged weights into the modules, whole in every process. Call once, after the loop.
  void apply_ema();

 private:
  // Which passes are this process's.
  struct Passes {
    int64_t all = 1, own = 1, rank = 0;  // of an update
    // The number of the `turn`-th pass since the first update that this process makes.
    int64_t number(int64_t turn) const { return turn / own * all + rank * own + turn % own; }
  };
  // Of the passes of an update: numbers times their pass's weight, and the weights.
  struct Sums {
    std::map<std::string, double> values;
    double weight = 0;
  };
  static Passes passes_of(const StageOptions& options);
  void add_pass(int64_t pass, const PassFunction& pass_of, Sums& sums);
  Sums of_all_ranks(const Sums& own);
  void tell_processes(int64_t step);
  std::vector<TensorPiece> weight_pieces() const;
  std::vector<TensorPiece> buffer_pieces() const;
  void write_state(const std::filesystem::path& folder);
  void write_about(const std::filesystem::path& folder, int64_t next_step) const;
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
  bool agreed_to_stop_ = false;
  Passes passes_;
  SavedStates states_;
  std::unique_ptr<DataParallel> parallel_;  // null: this process trains alone
  std::optional<AdamW> optimiser_;          // until apply_ema
  Ema ema_;
  std::unique_ptr<RunLog> log_;  // rank 0's
  TrainingMemory held_;          // when the gradients of the first update were there
  int64_t sent_before_ = 0;      // bytes, when the last update began
  UpdateReport last_update_;
  double last_rate_ = 0;
  int64_t skipped_ = 0, skipped_in_a_row_ = 0;
  int64_t saved_ = 0;  // the step the newest state stands before
};

}  // namespace glmimage::train
