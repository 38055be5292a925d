#include "train/stages/code_history.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace glmimage::train {

CodeHistory::CodeHistory(const VqConfig& vq)
    : uses(at::zeros({vq.codes}, at::kFloat)),
      recent(at::zeros({4 * vq.codes, vq.embed_dim}, at::kFloat)),
      filled(at::zeros({1}, at::kFloat)) {}

ParameterList CodeHistory::buffers() {
  return {{"codebook.uses", &uses, uses.sizes().vec(), Init::zeros()},
          {"codebook.recent", &recent, recent.sizes().vec(), Init::zeros()},
          {"codebook.recent_filled", &filled, {1}, Init::zeros()}};
}

void CodeHistory::add(const at::Tensor& ids, const at::Tensor& z) {
  const int64_t room = recent.size(0);
  uses = uses * 0.98 + at::bincount(ids.flatten(), {}, uses.size(0)).to(at::kFloat) * 0.02;
  recent = at::cat({z, recent}).slice(0, 0, room);
  filled.fill_(std::min<double>(static_cast<double>(room), filled.item<double>() + static_cast<double>(z.size(0))));
}

void CodeHistory::add_all(const std::vector<at::Tensor>& ids, const std::vector<at::Tensor>& z) {
  for (size_t i = 0; i < ids.size(); ++i) add(ids[i].to(uses.device()), z[i].to(recent.device()));
}

int64_t CodeHistory::restart_dead_codes(VisualTokenizer& model, at::Generator random) {
  at::NoGradGuard no_grad;
  const at::Tensor dead = (uses < 0.5).nonzero().flatten();  // (k)
  uses = uses + 1.0;
  if (dead.numel() == 0) return 0;
  const at::Tensor pick = at::randint(filled.item<int64_t>(), {dead.numel()}, random, at::kLong).to(recent.device());
  model.quantizer.codebook.weight.index_copy_(0, dead, recent.index_select(0, pick));
  return dead.numel();
}

}  // namespace glmimage::train
