#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "train/config/distributed_settings.h"
#include "train/distributed/flat_weights.h"
#include "train/distributed/gradient_exchange.h"
#include "train/distributed/layer_lender.h"
#include "train/distributed/process_group.h"
#include "train/optim/tensor_piece.h"

namespace glmimage::train {

// Bytes of a training, of one process or counted there.
struct TrainingMemory {
  int64_t weights = 0, gradients = 0, moments = 0, average = 0;
  int64_t all() const { return weights + gradients + moments + average; }
};

// One model trained by several processes: where its weights and gradients are, and what of them is this rank's to
// update. Run calls it between the passes of an update; a process that trains alone has none.
class DataParallel {
 public:
  // Moves the trained parameters to `device`, with rank 0's values.
  DataParallel(ProcessGroup& group, const ParameterList& trained, const std::vector<LayerStack>& stacks,
               const DistributedSettings& settings, at::Device device);

  ProcessGroup& group() const { return group_; }
  Sharding sharding() const { return settings_.sharding; }
  // What this rank's optimiser and average work on: the parameters (Sharding::none) or the pieces of its slices. Their
  // .grad is there after finish_update, where any rank has seen one.
  const std::vector<TensorPiece>& pieces() const { return pieces_; }

  // An update of so many passes on this rank. Each pass: begin_pass, forward, backward, end_pass.
  void begin_update(int64_t passes) { gradients_->begin_update(passes); }
  void begin_pass();
  void end_pass();
  // After the last pass: the pieces' .grad is the sum of all ranks' gradients.
  void finish_update();
  double overlap() const { return gradients_->overlap(); }
  // A squared norm over this rank's pieces -> over all parameters.
  double sum_of_squares(double here) const;
  // The pieces have new values: the modules see them when it returns, or at their next gathering.
  void publish();

  // While it lives, models can be run without gradients. All ranks together, and the same.
  class Reading {
   public:
    explicit Reading(DataParallel& parallel);
    ~Reading();
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    DataParallel& parallel_;
  };
  // While it lives, modules' tensors outside the layers may be changed, alike on all ranks; the pieces follow.
  class Changing {
   public:
    explicit Changing(DataParallel& parallel);
    ~Changing();
    Changing(const Changing&) = delete;
    Changing& operator=(const Changing&) = delete;

   private:
    DataParallel& parallel_;
  };
  // The training is over: every rank has all weights, in place.
  void gather_all();

  // Weights and gradients as they are now.
  TrainingMemory memory() const;
  // By formula, with P the parameters padded for slicing, 4 bytes each, at the end of a pass: weights 4P, gradients 4P,
  // moments 8P, average 4P, each divided by the number of ranks where `sharding` divides it.
  TrainingMemory predicted_memory(bool average) const;
  // The same of the bytes of tensors a rank sends in an update of so many passes on it.
  // With S the padded parameters' bytes times (ranks-1)/ranks: none 2S; zero1 2S; zero2 S a pass and S; zero3 S a pass
  // and S a pass for the layers' two gatherings each, less once for what lies outside them.
  int64_t predicted_bytes_sent(int64_t passes) const;

 private:
  void name_pieces(const ParameterList& trained);
  bool flat() const { return settings_.sharding != Sharding::none; }

  ProcessGroup& group_;
  DistributedSettings settings_;
  std::vector<Unit> units_;
  size_t rest_ = 0;  // the unit outside the layers; zero3
  struct Owner {     // of a piece: where its gradient is
    size_t unit;
    Place place;  // Sharding::none
    Piece piece;  // else
  };
  std::vector<TensorPiece> pieces_;
  std::vector<Owner> owners_;
  std::unique_ptr<FlatWeights> weights_;  // null: Sharding::none
  std::unique_ptr<GradientExchange> gradients_;
  std::unique_ptr<LayerLender> lender_;  // zero3
  const ParameterList trained_;
};

}  // namespace glmimage::train
