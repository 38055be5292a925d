#include "support/gradients.h"

#include <gtest/gtest.h>

#include "support/goldens.h"

namespace glmimage::test {

std::map<std::string, at::Tensor> record_gradients(const ParameterList& list) {
  std::map<std::string, at::Tensor> leaves;
  for (const Parameter& p : list) leaves[p.name] = *p.tensor = p.tensor->detach().clone().requires_grad_(true);
  return leaves;
}

int expect_gradients(const std::map<std::string, at::Tensor>& leaves, const SafetensorsFile& recorded,
                     const std::string& prefix, double tolerance) {
  int compared = 0;
  for (const TensorInfo& info : recorded.tensors()) {
    if (info.name.rfind(prefix, 0) != 0 || info.name == prefix + "projection") continue;
    const auto leaf = leaves.find(info.name.substr(prefix.size()));
    if (leaf == leaves.end() || !leaf->second.grad().defined()) {
      ADD_FAILURE() << info.name << " was recorded, but there is no such gradient";
      continue;
    }
    EXPECT_LT(relative_error(leaf->second.grad(), recorded.tensor(info.name)), tolerance) << info.name;
    ++compared;
  }
  return compared;
}

}  // namespace glmimage::test
