#pragma once

#include "core/parameters.h"
#include "kernels/device_form.h"

namespace glmimage {

// Gives listed matrices of few bits the form in which their device's fused product reads them, for inference; tokens
// have the type of the parameters that are floats. Where there is no such product nothing changes.
void take_device_form(const ParameterList& list);

}  // namespace glmimage
