#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/parameters.h"
#include "train/distributed/flat_layout.h"
#include "train/distributed/process_group.h"

namespace glmimage::train {

// The weights of a model as units in flat tensors: the modules' tensors become views of them, so that a unit is
// gathered from the ranks' slices by one collective. A unit is here, whole, or away, when only this rank's slice is in
// memory; the modules' tensors then have no bytes and must not be read (as FSDP resizes a flat parameter's storage).
class FlatWeights {
 public:
  enum class Stay {
    here,  // always whole; the slice is a part of the flat tensor
    away,  // whole between gather() and release()
  };
  // Moves the parameters, float32, to `device` unit by unit, with rank 0's values, and makes them leaves that require
  // gradients.
  FlatWeights(ProcessGroup& group, const ParameterList& list, const std::vector<Unit>& units, Stay stay,
              at::Device device);

  // This rank's own, (unit.slice): what the optimiser changes.
  const at::Tensor& slice(size_t unit) const { return held_[unit].slice; }
  bool is_here(size_t unit) const { return held_[unit].here; }

  // Begins to gather a unit that is away; nothing for one that is here or on its way.
  void prefetch(size_t unit);
  // The unit is here when it returns.
  void gather(size_t unit);
  // Away again, unless it stays.
  void release(size_t unit);
  // After the slices were changed: every unit that is here has the others' slices too.
  void publish();
  // After the modules' tensors of a unit that is here were changed, alike on all ranks: the slice follows.
  void take_back(size_t unit);
  // Every unit is here, for good.
  void stay_here();

  int64_t bytes() const;  // that weights take now

 private:
  struct Held {
    at::Tensor flat;   // (unit.size), which the modules see
    at::Tensor slice;  // (unit.slice)
    bool here = true;
    Pending coming;
  };
  at::Tensor own_part(const Held& held) const;
  void place(const Unit& unit, const ParameterList& list, at::Device device);

  ProcessGroup& group_;
  Stay stay_;
  std::vector<Held> held_;
};

}  // namespace glmimage::train
