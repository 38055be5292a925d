#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "core/parameters.h"
#include "train/config/distributed_settings.h"
#include "train/distributed/flat_layout.h"
#include "train/distributed/process_group.h"

namespace glmimage::train {

// Sums gradients over the processes while the backward pass still runs: a hook takes each gradient as it is finished
// into its unit's flat tensor, and a unit that is complete is sent. Units are sent in one order on all ranks, learned
// from the first update (Li et al. 2020, PyTorch Distributed).
//
//   Sharding::none          all_reduce of each unit in the last pass of an update; every rank has the whole sum
//   Sharding::zero1         reduce_scatter in the last pass; a rank has its slice's sum, in place
//   Sharding::zero2, zero3  reduce_scatter in every pass; between passes only slices are kept
//
// A parameter may get no gradient on a rank, in a pass or at all; which ones do is learned too. What comes when its
// unit is already under way (a parameter that is used for the first time, or a second time by a recomputed block) is
// summed at the end of the pass.
class GradientExchange {
 public:
  // Parameters must be leaves in place, float32 on one device; they lose their .grad to this from now on.
  GradientExchange(ProcessGroup& group, const ParameterList& list, std::vector<Unit> units, Sharding sharding);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  // An update of so many passes on this rank begins: gradients start at nothing.
  void begin_update(int64_t passes);
  // Before each pass's forward.
  void begin_pass();
  // After each pass's backward. When it returns after the last pass, the sums are there.
  void end_pass();

  // Whether any rank has seen a gradient of the parameter in this update.
  bool arrived(size_t parameter) const { return arrived_[parameter] != 0; }
  // The sum of a place's gradients (length); Sharding::none alone.
  at::Tensor whole(size_t unit, const Place& place) const;
  // The same of a piece of this rank's slice (piece.length); not Sharding::none.
  at::Tensor part(size_t unit, const Piece& piece) const;

  int64_t bytes() const;  // that gradients take now
  // The share of the units that were sent while the last backward pass still ran.
  double overlap() const;

 private:
  struct Bucket {
    Unit unit;
    at::Tensor flat;           // (unit.size)
    at::Tensor slice;          // (unit.slice): zero2, zero3
    at::Tensor received;       // (unit.slice): on its way into `slice`
    std::vector<char> filled;  // by place: `flat` holds something
    int64_t waiting = 0;       // expected parameters that have not come in this pass
    bool sent = false;         // in this pass
    bool has_slice = false;    // `slice` holds something of this update
    int64_t last_arrival = 0;  // the most recent of its parameters, counted over the pass
    Pending work;
  };
  struct Hook;

  bool sends_every_pass() const { return sharding_ == Sharding::zero2 || sharding_ == Sharding::zero3; }
  void take(size_t parameter, const at::Tensor& variable);
  void put(Bucket& bucket, size_t place, const at::Tensor& gradient);
  void send_complete();
  void send(Bucket& bucket);
  void receive(Bucket& bucket);
  void receive_oldest();
  void settle();  // what the ranks tell each other at the end of a pass that was sent
  void add_late(size_t parameter);
  void learn_order(const std::vector<int64_t>& last_arrivals);

  ProcessGroup& group_;
  const ParameterList list_;
  const Sharding sharding_;
  std::vector<Bucket> buckets_;
  std::vector<std::pair<size_t, size_t>> where_;  // of each parameter: bucket and place
  std::vector<size_t> order_;                     // of sending
  size_t next_ = 0;                               // in order_
  bool order_known_ = false, sending_ = false;
  int64_t passes_left_ = 0, arrivals_ = 0;
  size_t sent_early_ = 0;       // units of the last pass, before its backward pass ended
  std::vector<char> expected_;  // has come in the last pass before
  std::vector<char> came_;      // in this pass, here
  std::vector<char> arrived_;   // in this update; on any rank once it is settled
  std::map<size_t, at::Tensor> late_;
  std::deque<size_t> under_way_;  // buckets sent and not received
  std::mutex mutex_;
};

}  // namespace glmimage::train
