#include "pipeline/calibrate.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "core/error.h"
#include "kernels/observe_linear.h"

namespace glmimage {
namespace {

// Sums by where a product's matrix lies in memory. It may be several matrices of the checkpoint behind each other (the
// language model joins its queries, keys and values): all have these inputs.
class InputSums {
 public:
  void add(const at::Tensor& x, const at::Tensor& weight) {
    const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(at::kFloat);  // (tokens, in)
    if (rows.size(0) == 0) return;
    const at::Tensor squares = rows.square().sum({0}).cpu().to(at::kDouble);  // (in)
    Sums& sums = by_address_[address(weight)];
    sums.bytes = std::max(sums.bytes, weight.nbytes());
    sums.squares = sums.squares.defined() ? sums.squares + squares : squares;
    sums.tokens += rows.size(0);
  }

  // (in) float32; undefined: nothing was multiplied with this matrix.
  at::Tensor mean(const at::Tensor& matrix) const {
    const auto behind = by_address_.upper_bound(address(matrix));
    if (behind == by_address_.begin()) return {};
    const auto& [begin, sums] = *std::prev(behind);
    if (address(matrix) + matrix.nbytes() > begin + sums.bytes) return {};
    return (sums.squares / static_cast<double>(sums.tokens)).to(at::kFloat);
  }

 private:
  struct Sums {
    size_t bytes = 0;
    int64_t tokens = 0;
    at::Tensor squares;  // (in) float64
  };
  static const std::byte* address(const at::Tensor& matrix) {
    return static_cast<const std::byte*>(matrix.const_data_ptr());
  }
  std::map<const std::byte*, Sums> by_address_;
};

}  // namespace

Calibration calibrate(const Pipeline& pipeline, const std::vector<GenerateRequest>& requests, Progress* progress,
                      const std::function<void(int64_t done)>& drawn) {
  InputSums sums;
  Calibration out;
  const auto draw_all = [&] {
    for (const GenerateRequest& request : requests) {
      pipeline.generate(request, {.progress = progress, .trace = nullptr, .preview = {}});
      out.steps = std::max(out.steps, request.steps);
      ++out.pictures;
      if (drawn) drawn(out.pictures);
    }
  };
  kernels::observe_linear(draw_all, [&](const at::Tensor& x, const at::Tensor& weight) { sums.add(x, weight); });
  for (const auto& [name, matrix] : pipeline.matrices()) {
    const at::Tensor mean = sums.mean(matrix);
    if (!mean.defined()) continue;
    if (!mean.isfinite().all().item<bool>()) {
      fail(ErrorKind::checkpoint, "the inputs of ", name, " are not all numbers while the prompts are drawn; broken ",
           "weights, or a type too narrow for them?");
    }
    out.input_squares.emplace(name, mean);
  }
  if (out.input_squares.empty()) fail(ErrorKind::internal, "calibrate: no product of a matrix was seen");
  return out;
}

}  // namespace glmimage
