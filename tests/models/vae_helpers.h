#pragma once

#include "core/parameters.h"
#include "core/rng.h"
#include "models/vae/vae.h"

namespace glmimage::test {

inline Vae random_vae(const VaeConfig& config) {
  Vae vae(config);
  ParameterList list;
  vae.list(list);
  init_parameters(list, make_generator(1));
  return vae;
}

}  // namespace glmimage::test
