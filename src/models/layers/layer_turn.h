#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>

namespace glmimage {

// Hears which layer of a model is about to run and when it has run. Whoever lends a model its weights layer by layer
// listens and fills and empties the layer's tensors; models know nothing else of it.
class LayerListener {
 public:
  virtual ~LayerListener() = default;
  virtual void before(size_t layer) = 0;
  // What the layer made (any may be undefined), before after(): its gradients come first in the layer's backward pass.
  virtual void made(size_t /*layer*/, const at::Tensor& /*output*/) {}
  virtual void after(size_t layer) noexcept = 0;
};

// Lasts as long as one layer runs. Nobody listens where all weights are in memory.
class LayerTurn {
 public:
  LayerTurn(LayerListener* listener, size_t layer) : listener_(listener), layer_(layer) {
    if (listener_) listener_->before(layer_);
  }
  ~LayerTurn() {
    if (listener_) listener_->after(layer_);
  }
  LayerTurn(const LayerTurn&) = delete;
  LayerTurn& operator=(const LayerTurn&) = delete;

  void made(const at::Tensor& output) const {
    if (listener_ && output.defined()) listener_->made(layer_, output);
  }

 private:
  LayerListener* listener_;
  size_t layer_;
};

}  // namespace glmimage
