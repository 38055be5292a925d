#pragma once

#include <map>
#include <string>

#include "core/parameters.h"
#include "core/safetensors.h"

namespace glmimage::test {

// Leaves under their names: every listed tensor becomes a fresh one that records a gradient.
std::map<std::string, at::Tensor> record_gradients(const ParameterList& list);

// Holds the gradient of each leaf to the tensor "<prefix><name>" of `recorded`, where there is one, within `tolerance`
// (relative). Returns how many were compared; a recorded gradient without a leaf fails the test, save "projection".
int expect_gradients(const std::map<std::string, at::Tensor>& leaves, const SafetensorsFile& recorded,
                     const std::string& prefix, double tolerance);

}  // namespace glmimage::test
