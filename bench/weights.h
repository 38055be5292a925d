#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "kernels/device_form.h"

namespace glmimage::bench {

// What a piece of work is computed in. Names: float32, bfloat16, float16; int8 and int4 have their matrices in few
// bits, as `glm-image quantize` makes of w8a8 (one scale a row) and int4 (groups of 64), and all else in bfloat16.
struct Format {
  std::string name = "float32";
  at::ScalarType dtype = at::kFloat;  // of activations, and of weights that are not in few bits
  int64_t bits = 0;                   // of the matrices; 0: as dtype says
  at::Device device = at::Device(at::kCPU);

  at::TensorOptions options() const { return at::TensorOptions(dtype).device(device); }

  static const std::vector<std::string>& names();
  static Format of(const std::string& name);  // throws ErrorKind::usage
};

// Random weights for what `list` names.
void fill(const ParameterList& list, const Format& format);

// The listed matrices in the format's bits, as `glm-image quantize` takes them: those of layers, without modulations;
// in the form in which the device multiplies them.
void quantise_layers(const ParameterList& list, const Format& format);

// Random numbers, always the same.
at::Tensor noise(at::IntArrayRef shape, const Format& format);

int64_t bytes_of(const ParameterList& list);

}  // namespace glmimage::bench
