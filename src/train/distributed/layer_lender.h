#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/layers/layer_turn.h"
#include "train/distributed/flat_weights.h"

namespace glmimage::train {

// Layers of a model that run one after the other, each in a LayerTurn.
struct LayerStack {
  std::string prefix;        // of their parameters' names, before the layer's number: "transformer_blocks"
  LayerListener** listener;  // where the model keeps who listens
};

// Has a layer's weights gathered while it runs, forward and backward, and the next one's on their way
// (Sharding::zero3). Every rank must run the same layers in the same order. Layers run backward in the opposite order
// of their last run; when the backward pass of one begins, that of those above it has ended.
class LayerLender {
 public:
  LayerLender(FlatWeights& weights, const LayerUnits& layers, const std::vector<LayerStack>& stacks);
  ~LayerLender();
  LayerLender(const LayerLender&) = delete;
  LayerLender& operator=(const LayerLender&) = delete;

  // The backward pass has ended: nothing stays.
  void release_all();

 private:
  class Listener;
  void begin_backward(const std::vector<size_t>& units, size_t layer);

  FlatWeights& weights_;
  std::vector<LayerListener**> places_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::set<size_t> lent_;             // units that are here or on their way
  const size_t* backward_ = nullptr;  // whose backward pass it is: its place in its stack
};

}  // namespace glmimage::train
