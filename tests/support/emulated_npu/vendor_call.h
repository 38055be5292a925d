#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "counters.h"

// How the stand-ins of torch_npu's operators (vendor.h) are written.
namespace emulated_npu {

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

// The arguments of one call, by their names in the schema. Everything is checked against the device and counted first.
class Call {
 public:
  Call(const c10::OperatorHandle& op, Stack* stack) : op_(op), stack_(stack) {
    counters().add_op(op.operator_name().name);
    for (const IValue& value : torch::jit::last(*stack, count())) {
      if (value.isTensor()) refuse_unless(value.toTensor().device().is_privateuseone(), "tensors on the device");
    }
  }
  const IValue& at(const std::string& name) const {
    const std::optional<int> index = op_.schema().argumentIndexWithName(name);
    refuse_unless(index.has_value(), name);
    return torch::jit::peek(*stack_, static_cast<size_t>(*index), count());
  }
  Tensor tensor(const std::string& name) const { return at(name).toTensor(); }
  std::optional<Tensor> maybe(const std::string& name) const {
    return at(name).isNone() ? std::nullopt : std::optional(at(name).toTensor());
  }
  int64_t integer(const std::string& name) const { return at(name).toInt(); }
  void refuse_unless(bool condition, const std::string& rule) const {
    TORCH_CHECK(condition, op_.operator_name(), " requires ", rule);
  }
  void give(const std::vector<Tensor>& results) const {
    torch::jit::drop(*stack_, count());
    for (const Tensor& result : results) stack_->emplace_back(result);
  }

 private:
  size_t count() const { return op_.schema().arguments().size(); }
  const c10::OperatorHandle& op_;
  Stack* stack_;
};

inline bool is_half(const Tensor& x) { return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16; }
inline bool is_float(const Tensor& x) { return is_half(x) || x.scalar_type() == at::kFloat; }

using Boxed = void (*)(const c10::OperatorHandle&, Stack*);

template <Boxed function>
torch::CppFunction kernel() {
  return torch::CppFunction::makeFromBoxedFunction<function>();
}

template <Boxed function>
void define(torch::Library& npu, const std::string& schema, bool has_gradient) {
  npu.def(schema.c_str());
  const std::string name = schema.substr(0, schema.find('('));
  npu.impl(name.c_str(), c10::DispatchKey::PrivateUse1, kernel<function>());
  // A composition of differentiable operators is its own formula.
  if (has_gradient) npu.impl(name.c_str(), c10::DispatchKey::AutogradPrivateUse1, kernel<function>());
}

// vendor_training.cpp: operators with gradients of their own under npu::, and kernels of LibTorch's own operators.
void define_training_operators(torch::Library& npu);
std::unique_ptr<torch::Library> vendor_kernels_of_libtorch();

}  // namespace emulated_npu
