#include "train/distributed/layer_lender.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace glmimage::train {

class LayerLender::Listener : public LayerListener {
 public:
  Listener(LayerLender& lender, std::vector<size_t> units) : lender_(lender), units_(std::move(units)) {}

  void before(size_t layer) override {
    lender_.backward_ = nullptr;
    lender_.weights_.gather(units_[layer]);
    lender_.lent_.insert(units_[layer]);
    if (layer + 1 < units_.size()) {
      lender_.weights_.prefetch(units_[layer + 1]);
      lender_.lent_.insert(units_[layer + 1]);
    }
  }

  void made(size_t layer, const at::Tensor& output) override {
    // What is empty may be handed through, and is then an earlier layer's.
    if (!at::GradMode::is_enabled() || !output.requires_grad() || output.numel() == 0) return;
    output.register_hook([this, layer](const at::Tensor&) { lender_.begin_backward(units_, layer); });
  }

  void after(size_t layer) noexcept override {
    lender_.weights_.release(units_[layer]);
    lender_.lent_.erase(units_[layer]);
  }

 private:
  LayerLender& lender_;
  std::vector<size_t> units_;  // by layer
};

LayerLender::LayerLender(FlatWeights& weights, const LayerUnits& layers, const std::vector<LayerStack>& stacks)
    : weights_(weights) {
  for (size_t i = 0; i < stacks.size(); ++i) {
    if (layers.of_stack[i].empty()) continue;  // not trained
    listeners_.push_back(std::make_unique<Listener>(*this, layers.of_stack[i]));
    places_.push_back(stacks[i].listener);
    *stacks[i].listener = listeners_.back().get();
  }
}

LayerLender::~LayerLender() {
  for (LayerListener** place : places_) *place = nullptr;
}

void LayerLender::begin_backward(const std::vector<size_t>& units, size_t layer) {
  const size_t unit = units[layer];
  if (backward_ == &units[layer]) return;  // another of the layer's outputs
  backward_ = &units[layer];
  const std::set<size_t> before = lent_;
  for (size_t other : before) {
    if (other == unit) continue;
    weights_.release(other);
    lent_.erase(other);
  }
  weights_.gather(unit);
  lent_.insert(unit);
  if (layer > 0) {
    weights_.prefetch(units[layer - 1]);
    lent_.insert(units[layer - 1]);
  }
}

void LayerLender::release_all() {
  for (size_t unit : lent_) weights_.release(unit);
  lent_.clear();
  backward_ = nullptr;
}

}  // namespace glmimage::train
