#include "train/distributed/flat_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace glmimage::train {
namespace {

constexpr const char* kWeights = "the others' slices of the weights";

// The same memory with a history of its own: what a collective writes there is no change that autograd should hear of.
at::Tensor unseen(const at::Tensor& tensor) { return tensor.variable_data(); }

void give_bytes(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  const auto bytes = static_cast<size_t>(tensor.numel()) * tensor.itemsize();
  storage->set_data_ptr_noswap(storage->allocator()->allocate(bytes));
  storage->set_nbytes(bytes);
}

void take_bytes(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  storage->set_data_ptr_noswap(c10::DataPtr(nullptr, tensor.device()));
  storage->set_nbytes(0);
}

}  // namespace

FlatWeights::FlatWeights(ProcessGroup& group, const ParameterList& list, const std::vector<Unit>& units, Stay stay,
                         at::Device device)
    : group_(group), stay_(stay) {
  at::NoGradGuard no_grad;
  for (const Unit& unit : units) place(unit, list, device);
}

void FlatWeights::place(const Unit& unit, const ParameterList& list, at::Device device) {
  Held held;
  held.flat = at::zeros({unit.size}, at::TensorOptions(at::kFloat).device(device));
  for (const Place& place : unit.places) {
    at::Tensor& tensor = *list[place.parameter].tensor;
    if (tensor.scalar_type() != at::kFloat) {
      fail(ErrorKind::internal, list[place.parameter].name, " is trained in ", tensor.scalar_type(), ", not float32");
    }
    at::Tensor room = held.flat.narrow(0, place.offset, place.length).view(tensor.sizes());
    room.copy_(tensor);
    tensor = room.detach();
    tensor.requires_grad_(true);
  }
  if (unit.size > 0) group_.broadcast(unseen(held.flat), "rank 0's weights at the beginning");
  held.slice = stay_ == Stay::here ? own_part(held) : own_part(held).clone();
  held_.push_back(std::move(held));
  if (stay_ == Stay::away) release(held_.size() - 1);
}

at::Tensor FlatWeights::own_part(const Held& held) const {
  const int64_t length = held.flat.numel() / group_.size();
  return unseen(held.flat).narrow(0, group_.rank() * length, length);
}

void FlatWeights::prefetch(size_t unit) {
  Held& held = held_[unit];
  if (held.here || held.coming.waiting() || held.flat.numel() == 0) return;
  at::NoGradGuard no_grad;
  give_bytes(held.flat);
  held.coming = group_.all_gather(unseen(held.flat), held.slice, kWeights);
}

void FlatWeights::gather(size_t unit) {
  Held& held = held_[unit];
  if (held.here) return;
  prefetch(unit);
  at::NoGradGuard no_grad;
  held.coming.wait();
  held.here = true;
}

void FlatWeights::release(size_t unit) {
  Held& held = held_[unit];
  if (stay_ == Stay::here) return;
  held.coming.wait();
  held.here = false;
  if (held.flat.numel() > 0) take_bytes(held.flat);
}

void FlatWeights::publish() {
  at::NoGradGuard no_grad;
  for (Held& held : held_) {
    if (!held.here || held.flat.numel() == 0) continue;
    held.coming = group_.all_gather(unseen(held.flat), held.slice, kWeights);
  }
  for (Held& held : held_) held.coming.wait();
}

void FlatWeights::take_back(size_t unit) {
  at::NoGradGuard no_grad;
  if (stay_ == Stay::away) held_[unit].slice.copy_(own_part(held_[unit]));
}

void FlatWeights::stay_here() {
  for (size_t i = 0; i < held_.size(); ++i) gather(i);
  stay_ = Stay::here;
}

int64_t FlatWeights::bytes() const {
  int64_t bytes = 0;
  for (const Held& held : held_) {
    bytes += static_cast<int64_t>(held.flat.storage().nbytes());
    if (!held.slice.is_alias_of(held.flat)) bytes += static_cast<int64_t>(held.slice.storage().nbytes());
  }
  return bytes;
}

}  // namespace glmimage::train
