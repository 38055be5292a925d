#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "core/parameters.h"
#include "train/optim/tensor_piece.h"
#include "train/state/saved_tensors.h"

namespace glmimage::train {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.01;  // decoupled; only parameters of two or more dimensions decay
  double max_grad_norm = 1.0;  // clip by global norm; 0: never
};

// What one update saw.
struct UpdateReport {
  double grad_norm = 0;  // before clipping
  bool skipped = false;  // a gradient was not finite: nothing was changed
};

// The listed parameters as they are, from now on requiring gradients.
std::vector<TensorPiece> whole_parameters(const ParameterList& parameters);

// The sum over all processes of what each has of a sum.
using SumOverAll = std::function<double(double here)>;

// AdamW (Loshchilov and Hutter 2019) by LibTorch's fused kernel over float32 masters, in two groups: with and without
// weight decay. The values are the very tensors of the modules, or pieces of them.
class AdamW {
 public:
  AdamW(const ParameterList& parameters, AdamWOptions options) : AdamW(whole_parameters(parameters), options) {}
  AdamW(const std::vector<TensorPiece>& pieces, AdamWOptions options);

  // Applies one update with learning rate `lr` from the values' .grad times `gradient_scale`, then drops the gradients.
  // The norm is that of the gradients here; with `sum_of_squares`, which all processes call, of the gradients of all.
  UpdateReport step(double lr, double gradient_scale = 1, const SumOverAll& sum_of_squares = nullptr);
  // Moments and step count under "<name>.exp_avg", "<name>.exp_avg_sq", "<name>.step": what a resume needs.
  std::vector<TensorPiece> state() const;
  void load_state(const SavedTensors& saved);

 private:
  struct Slot {
    TensorPiece piece;
    at::Tensor exp_avg, exp_avg_sq, step;
  };
  double norm_of(const std::vector<at::Tensor>& gradients, const SumOverAll& sum_of_squares) const;
  struct Group {
    double weight_decay = 0;
    std::vector<Slot> slots;
  };
  AdamWOptions options_;
  std::vector<Group> groups_;
};

// Linear warm-up to `peak`, then half a cosine down to `peak * floor` at `steps`.
double warmup_cosine(int64_t step, int64_t steps, int64_t warmup, double peak, double floor = 0.02);
// Linear warm-up to `peak`, which stays.
double warmup_constant(int64_t step, int64_t warmup, double peak);

// An exponential moving average of parameters: shadow = decay · shadow + (1 - decay) · parameter. With decay 0 it keeps
// nothing and does nothing: the weights are their own average.
class Ema {
 public:
  Ema(const ParameterList& parameters, double decay) : Ema(whole_parameters(parameters), decay) {}
  Ema(const std::vector<TensorPiece>& pieces, double decay);
  // The decay ramps up as (1 + step)/(10 + step) so that early averages forget the random start.
  void update(int64_t step);
  std::vector<TensorPiece> state() const;
  void load_state(const SavedTensors& saved);
  // Puts the averages into the modules (at the end, for export).
  void apply() const;
  // Exchanges averages and parameters, bit for bit; twice is nothing.
  void swap();

 private:
  double decay_;
  std::vector<TensorPiece> pieces_;
  std::vector<at::Tensor> parameters_, shadows_;
};

}  // namespace glmimage::train
