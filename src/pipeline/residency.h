#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "pipeline/adapters.h"
#include "pipeline/memory_plan.h"
#include "pipeline/models.h"
#include "pipeline/weight_parts.h"

namespace glmimage {

class StreamedPart;

// Brings weights before they are read and lets them go, as a plan says. The models hold nothing of their own between
// stages but what stays; their layers come when their turn does (models/layers/layer_turn.h).
class Residency {
 public:
  // Nothing to do: all weights stay where they are.
  Residency();
  // `models` as their files have them (mapped, stored types) and in the place where they remain; `sketch` says what
  // each tensor becomes. Adapters are merged anew whenever a matrix is brought.
  Residency(Models& models, Models& sketch, Adapters adapters, const MemoryPlan& plan, at::Device device);
  Residency(Residency&&) noexcept;
  Residency& operator=(Residency&&) noexcept;
  ~Residency();

  // Weights of some parts for as long as it lives.
  class Lease {
   public:
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease();

   private:
    friend class Residency;
    Lease() = default;
    std::vector<StreamedPart*> parts_;
  };
  Lease lend(const std::vector<WeightPart>& parts) const;

  // Requests take turns where weights come and go; where all stay, nobody waits.
  std::unique_lock<std::mutex> take_turn() const;

 private:
  std::array<std::unique_ptr<StreamedPart>, kWeightParts> parts_;  // null: stays
  std::unique_ptr<std::mutex> turn_;
};

}  // namespace glmimage
