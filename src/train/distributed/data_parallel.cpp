#include "train/distributed/data_parallel.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "core/error.h"

namespace glmimage::train {
namespace {

std::vector<std::string> prefixes_of(const std::vector<LayerStack>& stacks) {
  std::vector<std::string> out;
  for (const LayerStack& stack : stacks) out.push_back(stack.prefix);
  return out;
}

// Sharding::none: the tensors stay tensors of their own.
void share_weights(ProcessGroup& group, const ParameterList& trained, at::Device device) {
  for (const Parameter& p : trained) {
    at::Tensor& tensor = *p.tensor;
    if (tensor.scalar_type() != at::kFloat) {
      fail(ErrorKind::internal, p.name, " is trained in ", tensor.scalar_type(), ", not float32");
    }
    tensor = tensor.detach().to(device).contiguous();
    group.broadcast(tensor, "rank 0's weights at the beginning");
    tensor.requires_grad_(true);
  }
}

int64_t total_size(const std::vector<Unit>& units) {
  int64_t size = 0;
  for (const Unit& unit : units) size += unit.size;
  return size;
}

}  // namespace

DataParallel::DataParallel(ProcessGroup& group, const ParameterList& trained, const std::vector<LayerStack>& stacks,
                           const DistributedSettings& settings, at::Device device)
    : group_(group), settings_(settings), trained_(trained) {
  at::NoGradGuard no_grad;
  const std::vector<std::string> prefixes = prefixes_of(stacks);
  LayerUnits layers;
  if (settings.sharding == Sharding::zero3) {
    layers = layer_units(trained, prefixes, group.size());
    units_ = layers.units;
    rest_ = layers.rest;
  } else {
    const auto elements = static_cast<int64_t>(settings.bucket_mib * 1024 * 1024 / sizeof(float));
    units_ = bucket_units(trained, prefixes, elements, group.size());
  }
  if (flat()) {
    const auto stay = settings.sharding == Sharding::zero3 ? FlatWeights::Stay::away : FlatWeights::Stay::here;
    weights_ = std::make_unique<FlatWeights>(group, trained, units_, stay, device);
  } else {
    share_weights(group, trained, device);
  }
  name_pieces(trained);
  gradients_ = std::make_unique<GradientExchange>(group, trained, units_, settings.sharding);
  if (settings.sharding == Sharding::zero3) lender_ = std::make_unique<LayerLender>(*weights_, layers, stacks);
}

void DataParallel::name_pieces(const ParameterList& trained) {
  for (size_t u = 0; u < units_.size(); ++u) {
    if (!flat()) {
      for (const Place& place : units_[u].places) {
        const Parameter& p = trained[place.parameter];
        pieces_.push_back({p.name, *p.tensor, p.shape, 0});
        owners_.push_back({u, place, {place.parameter, 0, 0, place.length}});
      }
      continue;
    }
    for (const Piece& piece : pieces_of(units_[u], group_.rank(), group_.size())) {
      const Parameter& p = trained[piece.parameter];
      pieces_.push_back(
          {p.name, weights_->slice(u).narrow(0, piece.in_slice, piece.length), p.shape, piece.in_parameter});
      owners_.push_back({u, {}, piece});
    }
  }
}

void DataParallel::begin_pass() {
  gradients_->begin_pass();
  if (lender_) weights_->gather(rest_);
}

void DataParallel::end_pass() {
  gradients_->end_pass();
  if (!lender_) return;
  lender_->release_all();
  weights_->release(rest_);
}

void DataParallel::finish_update() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Owner& owner = owners_[i];
    if (!gradients_->arrived(owner.piece.parameter)) continue;
    at::Tensor& values = pieces_[i].values;
    values.mutable_grad() = flat() ? gradients_->part(owner.unit, owner.piece)
                                   : gradients_->whole(owner.unit, owner.place).view(values.sizes());
  }
}

double DataParallel::sum_of_squares(double here) const {
  if (!flat()) return here;  // every rank has all gradients, the same to the bit
  at::Tensor own = at::empty({1}, at::kDouble);
  own.fill_(here);
  double sum = 0;
  for (const at::Tensor& each : group_.all_gather_rows(own, "the norm of the gradients")) sum += each.item<double>();
  return sum;
}

void DataParallel::publish() {
  if (flat()) weights_->publish();
}

DataParallel::Reading::Reading(DataParallel& parallel) : parallel_(parallel) {
  if (parallel_.lender_) parallel_.weights_->gather(parallel_.rest_);
}

DataParallel::Reading::~Reading() {
  if (!parallel_.lender_) return;
  try {
    parallel_.lender_->release_all();
    parallel_.weights_->release(parallel_.rest_);
  } catch (const Error&) {  // a layer that was on its way does not come: the next exchange says so
  }
}

DataParallel::Changing::Changing(DataParallel& parallel) : parallel_(parallel) {
  if (parallel_.lender_) parallel_.weights_->gather(parallel_.rest_);
}

DataParallel::Changing::~Changing() {
  if (!parallel_.lender_) return;
  parallel_.weights_->take_back(parallel_.rest_);
  parallel_.weights_->release(parallel_.rest_);
}

void DataParallel::gather_all() {
  lender_ = nullptr;  // nobody is to release them
  gradients_ = nullptr;
  for (TensorPiece& piece : pieces_) piece.values.mutable_grad() = at::Tensor();
  if (!flat()) return;
  weights_->stay_here();
  weights_->publish();
}

TrainingMemory DataParallel::memory() const {
  TrainingMemory out;
  if (flat()) {
    out.weights = weights_->bytes();
  } else {
    for (const Parameter& p : trained_) out.weights += static_cast<int64_t>(p.tensor->nbytes());
  }
  if (gradients_) out.gradients = gradients_->bytes();
  return out;
}

TrainingMemory DataParallel::predicted_memory(bool average) const {
  const int64_t bytes = 4 * total_size(units_), slice = bytes / group_.size();
  const auto from = [&](Sharding least) { return settings_.sharding >= least ? slice : bytes; };
  return {.weights = from(Sharding::zero3),
          .gradients = from(Sharding::zero2),
          .moments = 2 * from(Sharding::zero1),
          .average = average ? from(Sharding::zero1) : 0};
}

int64_t DataParallel::predicted_bytes_sent(int64_t passes) const {
  const int64_t ranks = group_.size(), all = 4 * total_size(units_) * (ranks - 1) / ranks;
  switch (settings_.sharding) {
    case Sharding::none:
    case Sharding::zero1: return 2 * all;
    case Sharding::zero2: return passes * all + all;
    case Sharding::zero3: break;
  }
  const int64_t rest = 4 * units_[rest_].size * (ranks - 1) / ranks;
  return passes * (all + 2 * (all - rest) + rest);
}

}  // namespace glmimage::train
