#include "models/dit/references.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace glmimage {
namespace {

at::Tensor flags(int64_t rows, int64_t tokens, bool value, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kBool).device(device);
  return value ? at::ones({rows, tokens}, options) : at::zeros({rows, tokens}, options);
}

at::Tensor pad_tokens(const at::Tensor& x, int64_t tokens) {  // (1, S, heads, head_dim) -> (1, tokens, …)
  return x.size(1) == tokens ? x : at::constant_pad_nd(x, {0, 0, 0, 0, 0, tokens - x.size(1)});
}

}  // namespace

void ReferenceCache::append(std::vector<KeyValue> pass) {
  if (empty()) {
    blocks = std::move(pass);
    return;
  }
  const at::Tensor& k = pass.front().k;
  if (pass.size() != blocks.size() || k.size(0) != samples()) {
    fail(ErrorKind::internal, "reference cache: ", pass.size(), " blocks of ", k.size(0),
         " samples cannot be appended to ", blocks.size(), " blocks of ", samples());
  }
  if (mask.defined()) mask = at::cat({mask, flags(samples(), k.size(1), true, mask.device())}, 1);
  for (size_t i = 0; i < blocks.size(); ++i) {
    blocks[i] = {at::cat({blocks[i].k, pass[i].k}, 1), at::cat({blocks[i].v, pass[i].v}, 1)};
  }
}

ReferenceCache ReferenceCache::for_batch(int64_t batch) const {
  const int64_t count = samples();
  if (count == 1 || count == batch) return *this;
  if (count == 0 || batch % count != 0) {
    fail(ErrorKind::internal, "reference cache: ", count, " samples cannot serve a batch of ", batch);
  }
  const int64_t repeats = batch / count;
  ReferenceCache out;
  if (mask.defined()) out.mask = mask.repeat_interleave(repeats, 0);
  for (const KeyValue& kv : blocks) {
    out.blocks.push_back({kv.k.repeat_interleave(repeats, 0), kv.v.repeat_interleave(repeats, 0)});
  }
  return out;
}

ReferenceCache ReferenceCache::stack(const std::vector<ReferenceCache>& samples) {
  int64_t tokens = 0;
  const ReferenceCache* model = nullptr;  // any sample that has something
  for (const ReferenceCache& sample : samples) {
    if (sample.empty()) continue;
    model = &sample;
    tokens = std::max(tokens, sample.tokens());
    if (sample.samples() != 1) fail(ErrorKind::internal, "reference cache: only single samples can be stacked");
  }
  ReferenceCache out;
  if (!model) return out;

  std::vector<at::Tensor> masks;
  bool padded = false;
  const at::Device device = model->blocks.front().k.device();
  for (const ReferenceCache& sample : samples) {
    const int64_t missing = tokens - sample.tokens();
    at::Tensor real = sample.mask.defined() ? sample.mask : flags(1, sample.tokens(), true, device);
    masks.push_back(at::cat({real, flags(1, missing, false, device)}, 1));  // (1, tokens)
    padded = padded || missing != 0 || sample.mask.defined();
  }
  if (padded) out.mask = at::cat(masks);
  for (size_t i = 0; i < model->blocks.size(); ++i) {
    std::vector<at::Tensor> k, v;
    const at::Tensor nothing = model->blocks[i].k.narrow(1, 0, 0);  // (1, 0, heads, head_dim)
    for (const ReferenceCache& sample : samples) {
      k.push_back(pad_tokens(sample.empty() ? nothing : sample.blocks[i].k, tokens));
      v.push_back(pad_tokens(sample.empty() ? nothing : sample.blocks[i].v, tokens));
    }
    out.blocks.push_back({at::cat(k), at::cat(v)});
  }
  return out;
}

}  // namespace glmimage
