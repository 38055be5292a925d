#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/parameters.h"
#include "models/visual_tokenizer/visual_tokenizer.h"

namespace glmimage::train {

// Which codes the late batches chose and which features they held, saved with the run.
struct CodeHistory {
  explicit CodeHistory(const VqConfig& vq);
  ParameterList buffers();
  // ids (B, n) int64, z (B·n, code_dim).
  void add(const at::Tensor& ids, const at::Tensor& z);
  // The same of several passes, one after the other; on any device.
  void add_all(const std::vector<at::Tensor>& ids, const std::vector<at::Tensor>& z);
  // Codes nobody chose lately move to late features, so that the whole codebook works. Returns how many.
  int64_t restart_dead_codes(VisualTokenizer& model, at::Generator random);

  at::Tensor uses;    // (codes) float32: fading counts
  at::Tensor recent;  // (4·codes, code_dim) float32: features, newest first
  at::Tensor filled;  // (1) float32: how many rows of `recent` hold features
};

}  // namespace glmimage::train
