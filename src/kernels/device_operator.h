#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/operator_name.h>
#include <c10/core/DispatchKey.h>

#include <initializer_list>
#include <vector>

// Fused operators that a device's library brings when it is opened at run time. This program neither links nor includes
// it: operators are found in LibTorch's dispatcher by their names and called with arguments by name.
namespace glmimage::kernels {

// True when someone will ask for a gradient of what is computed from these tensors.
bool asks_for_gradient(std::initializer_list<at::Tensor> inputs);

struct Argument {
  const char* name;
  c10::IValue value;
};

// One operator. It may be absent, or be another version's: the library's releases add arguments with defaults, so what
// is not given takes the schema's default (none, where it is optional).
class DeviceOperator {
 public:
  // "npu::npu_rms_norm", with a kernel for `device` (a backend's key).
  DeviceOperator(const char* name, c10::DispatchKey device) : name_(name, ""), device_(device) {}

  // It is registered for the device; and has a formula for gradients, where these inputs will ask for one.
  bool serves(std::initializer_list<at::Tensor> inputs) const;
  // Its results, numbers among them left out. Throws ErrorKind::device when the schema has no such argument or needs
  // one that is not given: a version of the library this program does not know.
  std::vector<at::Tensor> call(std::initializer_list<Argument> arguments) const;

 private:
  c10::OperatorName name_;
  c10::DispatchKey device_;
};

}  // namespace glmimage::kernels
