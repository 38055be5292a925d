#include "train/distributed/gradient_exchange.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"

namespace glmimage::train {
namespace {

constexpr const char* kGradients = "the sums of the gradients";
constexpr size_t kUnderWay = 2;  // units that wait for the network while a third is filled

std::string flags_of(const std::vector<char>& flags) {
  std::string text(flags.size(), '0');
  for (size_t i = 0; i < flags.size(); ++i) text[i] = flags[i] ? '1' : '0';
  return text;
}

void add_flags(std::vector<char>& flags, const std::string& text) {
  for (size_t i = 0; i < flags.size() && i < text.size(); ++i) flags[i] = flags[i] || text[i] == '1';
}

}  // namespace

struct GradientExchange::Hook : torch::autograd::PostAccumulateGradHook {
  Hook(GradientExchange& exchange, size_t parameter) : exchange(exchange), parameter(parameter) {}
  void operator()(const at::Tensor& variable) override { exchange.take(parameter, variable); }
  GradientExchange& exchange;
  size_t parameter;
};

GradientExchange::GradientExchange(ProcessGroup& group, const ParameterList& list, std::vector<Unit> units,
                                   Sharding sharding)
    : group_(group),
      list_(list),
      sharding_(sharding),
      where_(list.size()),
      expected_(list.size(), 1),
      came_(list.size(), 0),
      arrived_(list.size(), 0) {
  for (Unit& unit : units) {
    Bucket bucket;
    bucket.filled.assign(unit.places.size(), 0);
    for (size_t i = 0; i < unit.places.size(); ++i) where_[unit.places[i].parameter] = {buckets_.size(), i};
    bucket.unit = std::move(unit);
    buckets_.push_back(std::move(bucket));
  }
  order_.resize(buckets_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  for (size_t i = 0; i < list_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(*list_[i].tensor, std::make_unique<Hook>(*this, i));
  }
}

GradientExchange::~GradientExchange() {
  for (const Parameter& p : list_) torch::autograd::impl::set_post_acc_grad_hooks(*p.tensor, nullptr);
}

void GradientExchange::begin_update(int64_t passes) {
  passes_left_ = passes;
  std::fill(arrived_.begin(), arrived_.end(), 0);
  for (Bucket& bucket : buckets_) {
    std::fill(bucket.filled.begin(), bucket.filled.end(), 0);
    bucket.has_slice = false;
  }
}

void GradientExchange::begin_pass() {
  --passes_left_;
  sending_ = passes_left_ == 0 || sends_every_pass();
  next_ = 0;
  arrivals_ = 0;
  late_.clear();
  std::fill(came_.begin(), came_.end(), 0);
  for (Bucket& bucket : buckets_) {
    bucket.sent = false;
    bucket.last_arrival = 0;
    bucket.waiting = 0;
    for (const Place& place : bucket.unit.places) bucket.waiting += expected_[place.parameter] ? 1 : 0;
  }
}

void GradientExchange::take(size_t parameter, const at::Tensor& variable) {
  at::NoGradGuard no_grad;
  const std::lock_guard lock(mutex_);  // an accelerator and the host have a backward thread each
  const at::Tensor gradient = variable.grad();
  variable.mutable_grad() = at::Tensor();
  if (!gradient.defined()) return;
  arrived_[parameter] = 1;
  const auto [number, place] = where_[parameter];
  Bucket& bucket = buckets_[number];
  if (bucket.sent) {
    at::Tensor& late = late_[parameter];
    if (late.defined())
      late.add_(gradient);
    else
      late = gradient.clone();
    came_[parameter] = 1;
    return;
  }
  put(bucket, place, gradient);
  bucket.last_arrival = ++arrivals_;
  if (came_[parameter]) return;  // a second share of it: counted before
  came_[parameter] = 1;
  if (expected_[parameter]) --bucket.waiting;
  if (sending_) send_complete();
}

void GradientExchange::put(Bucket& bucket, size_t number, const at::Tensor& gradient) {
  const Place& place = bucket.unit.places[number];
  if (!bucket.flat.defined()) bucket.flat = at::zeros({bucket.unit.size}, gradient.options());
  const at::Tensor room = bucket.flat.narrow(0, place.offset, place.length).view(gradient.sizes());
  if (bucket.filled[number])
    room.add_(gradient);
  else
    room.copy_(gradient);
  bucket.filled[number] = 1;
}

void GradientExchange::send_complete() {
  for (; next_ < order_.size() && buckets_[order_[next_]].waiting == 0; ++next_) send(buckets_[order_[next_]]);
}

void GradientExchange::send(Bucket& bucket) {
  const Unit& unit = bucket.unit;
  bucket.sent = true;
  if (unit.size == 0) return;
  const auto options = list_[unit.places[0].parameter].tensor->detach().options();
  if (!bucket.flat.defined()) {
    bucket.flat = at::zeros({unit.size}, options);
  } else {
    for (size_t i = 0; i < unit.places.size(); ++i) {
      if (!bucket.filled[i]) bucket.flat.narrow(0, unit.places[i].offset, unit.places[i].length).zero_();
    }
  }
  const std::string what = concat(kGradients, " of ", unit.name);
  const int64_t slice = unit.slice(group_.size());
  switch (sharding_) {
    case Sharding::none: bucket.work = group_.all_reduce(bucket.flat, what.c_str()); break;
    case Sharding::zero1:
      bucket.work =
          group_.reduce_scatter(bucket.flat.narrow(0, group_.rank() * slice, slice), bucket.flat, what.c_str());
      break;
    case Sharding::zero2:
    case Sharding::zero3:
      while (under_way_.size() >= kUnderWay) receive_oldest();
      bucket.received = at::empty({slice}, options);
      bucket.work = group_.reduce_scatter(bucket.received, bucket.flat, what.c_str());
      break;
  }
  under_way_.push_back(static_cast<size_t>(&bucket - buckets_.data()));
}

void GradientExchange::receive_oldest() {
  const size_t number = under_way_.front();
  under_way_.pop_front();
  receive(buckets_[number]);
}

void GradientExchange::receive(Bucket& bucket) {
  bucket.work.wait();
  if (!sends_every_pass()) return;
  if (!bucket.has_slice) {
    bucket.slice = bucket.received;
    bucket.has_slice = true;
  } else {
    bucket.slice.add_(bucket.received);
  }
  bucket.received = at::Tensor();
  bucket.flat = at::Tensor();
  std::fill(bucket.filled.begin(), bucket.filled.end(), 0);
}

void GradientExchange::end_pass() {
  if (!sending_) return;
  at::NoGradGuard no_grad;
  sent_early_ = next_;
  for (; next_ < order_.size(); ++next_) send(buckets_[order_[next_]]);
  while (!under_way_.empty()) receive_oldest();
  settle();
}

void GradientExchange::settle() {
  nlohmann::json own = {{"came", flags_of(came_)}, {"arrived", flags_of(arrived_)}, {"late", nlohmann::json::array()}};
  for (const auto& [parameter, gradient] : late_) own["late"].push_back(parameter);
  if (!order_known_ && group_.first()) {
    for (const Bucket& bucket : buckets_) own["last"].push_back(bucket.last_arrival);
  }
  std::vector<char> late(list_.size(), 0);
  std::fill(came_.begin(), came_.end(), 0);
  const std::vector<std::string> texts = group_.all_gather_text(own.dump(), "which gradients the others have");
  for (const std::string& text : texts) {
    const auto told = nlohmann::json::parse(text);
    add_flags(came_, told["came"].get<std::string>());
    add_flags(arrived_, told["arrived"].get<std::string>());
    for (const auto& parameter : told["late"]) late[parameter.get<size_t>()] = 1;
  }
  expected_ = came_;
  for (size_t i = 0; i < late.size(); ++i) {
    if (late[i]) add_late(i);
  }
  if (!order_known_) learn_order(nlohmann::json::parse(texts[0])["last"].get<std::vector<int64_t>>());
}

void GradientExchange::add_late(size_t parameter) {
  const auto [number, index] = where_[parameter];
  Bucket& bucket = buckets_[number];
  const Place& place = bucket.unit.places[index];
  at::Tensor sum;  // (length)
  if (const auto own = late_.find(parameter); own != late_.end()) {
    sum = own->second.contiguous().view({-1});
  } else {
    sum = at::zeros({place.length}, list_[parameter].tensor->detach().options());
  }
  group_.all_reduce(sum, kGradients).wait();
  if (sharding_ == Sharding::none) {
    bucket.flat.narrow(0, place.offset, place.length).add_(sum);
    return;
  }
  for (const Piece& piece : pieces_of(bucket.unit, group_.rank(), group_.size())) {
    if (piece.parameter == parameter) part(number, piece).add_(sum.narrow(0, piece.in_parameter, piece.length));
  }
}

// Units whose gradients were finished first are sent first.
void GradientExchange::learn_order(const std::vector<int64_t>& last_arrivals) {
  const auto when = [&](size_t bucket) {
    return last_arrivals[bucket] == 0 ? std::numeric_limits<int64_t>::max() : last_arrivals[bucket];
  };
  std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return when(a) < when(b); });
  order_known_ = true;
}

at::Tensor GradientExchange::whole(size_t unit, const Place& place) const {
  return buckets_[unit].flat.narrow(0, place.offset, place.length);
}

at::Tensor GradientExchange::part(size_t unit, const Piece& piece) const {
  const Bucket& bucket = buckets_[unit];
  if (sends_every_pass()) return bucket.slice.narrow(0, piece.in_slice, piece.length);
  const int64_t slice = bucket.unit.slice(group_.size());
  return bucket.flat.narrow(0, group_.rank() * slice + piece.in_slice, piece.length);
}

double GradientExchange::overlap() const {
  return static_cast<double>(sent_early_) / static_cast<double>(buckets_.size());
}

int64_t GradientExchange::bytes() const {
  int64_t bytes = 0;
  for (const Bucket& bucket : buckets_) {
    for (const at::Tensor* each : {&bucket.flat, &bucket.slice, &bucket.received}) {
      if (each->defined()) bytes += static_cast<int64_t>(each->storage().nbytes());
    }
  }
  return bytes;
}

}  // namespace glmimage::train
