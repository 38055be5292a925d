#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <limits>

#include "core/rng.h"
#include "models/layers/recompute.h"
#include "train/run.h"

namespace glmimage::train {

// A model whose parameters are used in every way there is: in all passes, in every other pass, from the third update
// on, by two recomputed blocks, and by none. One pass's gradients are not finite.
struct Toy {
  at::Tensor always = at::full({40, 5}, 0.5), odd = at::full({301}, 0.25), late = at::full({7, 3}, -0.5),
             twice = at::full({20}, 1.0), never = at::full({33}, 2.0);

  ParameterList list() {
    ParameterList out;
    for (const auto& [name, tensor] :
         {std::pair("always", &always), {"odd", &odd}, {"late", &late}, {"twice", &twice}, {"never", &never}}) {
      out.push_back({name, tensor, tensor->sizes().vec(), Init::ones()});
    }
    return out;
  }

  Pass pass(int64_t number, int64_t accumulate) const {
    at::Generator random = make_generator(static_cast<uint64_t>(number));
    const at::Tensor x = at::randn({20}, random, at::kFloat);
    const auto mean_square = [&](const at::Tensor& weights) {
      return (weights - at::randn(weights.sizes(), random, at::kFloat)).square().mean();
    };
    const Block scale = [this](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
      return {in[0] * twice};
    };
    at::Tensor loss = mean_square(always);
    at::Tensor y = x.clone().requires_grad_(true);
    for (int i = 0; i < 2; ++i) y = run_block(Activations::recompute, scale, {y})[0];
    loss = loss + 0.1 * y.square().mean();
    if (number % 2 == 1) loss = loss + mean_square(odd);
    if (number / accumulate >= 2) loss = loss + mean_square(late);
    if (number == 5 * accumulate + 1) loss = loss * std::numeric_limits<double>::quiet_NaN();
    return {.loss = loss,
            .values = {{"number", static_cast<double>(number)}},
            .weight = 1.0 + static_cast<double>(number % 3)};
  }
};

inline void train_toy(const StageOptions& options) {
  Toy toy;
  Run run(options, begin_run("vae", options), {.trained = toy.list()});
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t pass) { return toy.pass(pass, options.config.accumulate); }));
    run.finish_step(step);
  }
}

}  // namespace glmimage::train
