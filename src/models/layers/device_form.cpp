#include "models/layers/device_form.h"

#include <algorithm>

namespace glmimage {

void take_device_form(const ParameterList& list) {
  const auto floats =
      std::find_if(list.begin(), list.end(), [](const Parameter& p) { return p.tensor->defined() && !p.quantised(); });
  if (floats == list.end()) return;
  for (const Parameter& p : list) {
    if (!p.quantised()) continue;
    const auto [q, scale] = kernels::device_form({*p.tensor, *p.scale}, floats->tensor->scalar_type());
    *p.tensor = q;
    *p.scale = scale;
  }
}

}  // namespace glmimage
