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

// The operator `name` with its C++ signature, looked up once.
template <typename Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace glmimage::kernels
