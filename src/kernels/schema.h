#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include "core/error.h"

// How a kernel becomes an operator of the namespace glm_image: the dispatcher then chooses the twin of the operands'
// device, a library that is opened at run time may bring more of them, and where there is none the composition runs.
namespace glmimage::kernels {

// The twins' gradients are computed on raw memory and have no history: a second derivative would be wrong in silence.
inline void refuse_second_derivative(const char* name) {
  if (at::GradMode::is_enabled()) fail(ErrorKind::internal, name, ": the gradient has no gradient of its own");
}

// Registers a defined operator's composition and its processor twin, which needs a gradient of its own: with a kernel
// for its key the composition's is no longer used there. Library: torch::Library.
template <typename Library, typename Function>
void register_kernel(Library& library, const char* name, Function* composition, Function* on_cpu,
                     Function* on_cpu_with_gradient) {
  library.impl(name, c10::DispatchKey::CompositeImplicitAutograd, composition);
  library.impl(name, c10::DispatchKey::CPU, on_cpu);
  library.impl(name, c10::DispatchKey::AutogradCPU, on_cpu_with_gradient);
}

// Registers a twin for another device's key, with its history and without: it takes a fused operator of the device's
// library only where that brings its own formula for gradients or none is asked for (device_operator.h), else the
// composition.
template <typename Library, typename Function>
void register_on_device(Library& library, const char* name, c10::DispatchKey device, Function* on_device) {
  library.impl(name, device, on_device);
  library.impl(name, c10::getAutogradKeyFromBackend(c10::toBackendComponent(device)), on_device);
}

// The operator `name` with its C++ signature, looked up once.
template <typename Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace glmimage::kernels
