#include "kernels/device_operator.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace glmimage::kernels {
namespace {

// The arguments in the schema's order, defaults filled in.
torch::jit::Stack ordered(const c10::FunctionSchema& schema, std::initializer_list<Argument> given) {
  torch::jit::Stack stack;
  size_t used = 0;
  for (const c10::Argument& wanted : schema.arguments()) {
    const auto found =
        std::find_if(given.begin(), given.end(), [&](const Argument& a) { return wanted.name() == a.name; });
    if (found != given.end()) {
      stack.push_back(found->value);
      ++used;
    } else if (wanted.default_value()) {
      stack.push_back(*wanted.default_value());
    } else if (wanted.type()->kind() == c10::TypeKind::OptionalType) {
      stack.emplace_back();
    } else {
      fail(ErrorKind::device, "the device's operator ", c10::toString(schema.operator_name()), " wants '",
           wanted.name(), "', which this program does not know; is the device's library of another version?");
    }
  }
  if (used != given.size()) {
    fail(ErrorKind::device, "the device's operator ", c10::toString(schema.operator_name()), " takes ", used, " of ",
         given.size(), " arguments this program gives; is the device's library of another version?");
  }
  return stack;
}

}  // namespace

bool asks_for_gradient(std::initializer_list<at::Tensor> inputs) {
  return at::GradMode::is_enabled() && std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& t) {
           return t.defined() && t.requires_grad();
         });
}

bool DeviceOperator::serves(std::initializer_list<at::Tensor> inputs) const {
  // Asked each time, not remembered: it is a look into a table, and a library may come later.
  const auto op = c10::Dispatcher::singleton().findSchema(name_);
  if (!op || !op->hasKernelForDispatchKey(device_)) return false;
  if (!asks_for_gradient(inputs)) return true;
  return op->hasKernelForDispatchKey(c10::getAutogradKeyFromBackend(c10::toBackendComponent(device_)));
}

std::vector<at::Tensor> DeviceOperator::call(std::initializer_list<Argument> arguments) const {
  const auto op = c10::Dispatcher::singleton().findSchema(name_);
  if (!op) fail(ErrorKind::internal, "the operator ", c10::toString(name_), " is not there");
  torch::jit::Stack stack = ordered(op->schema(), arguments);
  op->callBoxed(stack);
  std::vector<at::Tensor> results;
  for (const c10::IValue& value : stack) {
    if (value.isTensor()) results.push_back(value.toTensor());
  }
  return results;
}

}  // namespace glmimage::kernels
