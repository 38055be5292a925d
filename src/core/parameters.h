#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/weight_files.h"

namespace glmimage {

// How a parameter begins when a model is trained from scratch.
struct Init {
  enum class Kind { normal, uniform, zeros, ones } kind = Kind::normal;
  double scale = 0.02;  // standard deviation of Kind::normal, bound of Kind::uniform
  static Init normal(double std) { return {Kind::normal, std}; }
  static Init uniform(double bound) { return {Kind::uniform, bound}; }
  static Init zeros() { return {Kind::zeros, 0}; }
  static Init ones() { return {Kind::ones, 0}; }
};

// What an adapter adds to a matrix W (out, in): y = W x + scale · b (a x) (Hu et al. 2021, LoRA). Undefined: nothing.
struct LowRank {
  at::Tensor a;      // (rank, in)
  at::Tensor b;      // (out, rank)
  double scale = 1;  // alpha / rank
};

// One entry of a module's parameter list: the checkpoint's own name, where the tensor lives in the module, the shape
// the configuration implies, and how it begins.
struct Parameter {
  std::string name;
  at::Tensor* tensor;
  std::vector<int64_t> shape;
  Init init;
  bool optional = false;        // may be absent from a checkpoint (stays undefined)
  LowRank* low_rank = nullptr;  // where an adapter's branch of this matrix lives in the module; null: it takes none
  // Where the scales of a matrix of few bits live (kernels::quantised_linear), whose integers are then in `tensor`;
  // undefined: it is one of floats. Null: it cannot be of few bits.
  at::Tensor* scale = nullptr;

  bool quantised() const { return scale && scale->defined(); }
  int64_t bytes() const;  // that the tensor, where there is one, and its scales take
};

// The list every module fills. It serves load, save, random init, optimisers, EMA and sharding. It points into the
// module: use it while the module stays where it is.
using ParameterList = std::vector<Parameter>;

// Where loaded weights go. dtype unset: keep each tensor's stored type.
struct Placement {
  std::optional<at::ScalarType> dtype;
  at::Device device = at::Device(at::kCPU);
};

// A matrix of few bits in a file, "layer.weight" being its name in the list: as compressed-tensors has it,
// 8 bits: layer.weight (out, in) int8; 4 bits: layer.weight_packed (out, in / 8) int32, eight values a word;
// both: layer.weight_scale (out, groups) bfloat16, float16 or float32, and for 4 bits layer.weight_shape (2) int64.
struct QuantisedNames {
  std::string packed, scale, shape;
};
QuantisedNames quantised_names(const std::string& name);
// Appends one to what is to be written: q as kernels::quantise gives it, `shape` (out, in).
void append_quantised(NamedTensors& tensors, const std::string& name, const std::vector<int64_t>& shape,
                      const at::Tensor& q, const at::Tensor& scale);

// Fills every listed tensor from `files`; integers and scales of matrices of few bits keep their types. Missing names,
// wrong shapes and (unless they begin with one of `ignored_prefixes`) unexpected names are collected and reported in
// one ErrorKind::checkpoint.
void load_parameters(const ParameterList& list, const WeightFiles& files, const Placement& placement,
                     const std::vector<std::string>& ignored_prefixes = {});

// Fills every listed tensor with its initial values, float32 on the CPU, drawn in list order from `generator`.
void init_parameters(const ParameterList& list, at::Generator generator);

// The listed tensors under their names, in list order, detached, cast to `dtype` when given. Matrices of few bits
// as they are in files.
NamedTensors named_tensors(const ParameterList& list, std::optional<at::ScalarType> dtype = std::nullopt);

int64_t count_elements(const ParameterList& list);

}  // namespace glmimage
