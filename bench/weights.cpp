#include "bench/weights.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include "core/dtype.h"
#include "core/error.h"
#include "core/rng.h"
#include "kernels/linear.h"

namespace glmimage::bench {

const std::vector<std::string>& Format::names() {
  static const std::vector<std::string> all = {"float32", "bfloat16", "float16", "int8", "int4"};
  return all;
}

Format Format::of(const std::string& name) {
  if (name == "int8") return {name, at::kBFloat16, 8};
  if (name == "int4") return {name, at::kBFloat16, 4};
  return {name, parse_dtype(name).value_or(at::kFloat), 0};
}

// Not init_parameters: modulations that begin at zero would multiply everything by zero.
void fill(const ParameterList& list, const Format& format) {
  constexpr double kSpread = 0.02;
  at::Generator generator = make_generator(1);
  for (const Parameter& p : list) {
    *p.tensor = p.init.kind == Init::Kind::ones
                    ? at::ones(p.shape, format.options())
                    : at::randn(p.shape, generator, at::TensorOptions(at::kFloat)).mul_(kSpread).to(format.options());
    if (p.scale) *p.scale = at::Tensor();
  }
}

void quantise_layers(const ParameterList& list, const Format& format) {
  if (format.bits == 0) return;
  for (const Parameter& p : list) {
    const bool head = p.name.starts_with("lm_head"), table = p.name.find("embed") != std::string::npos;
    if (!p.scale || head || table || p.name.find("norm1") != std::string::npos) continue;
    const int64_t group = format.bits == 4 && p.shape[1] % 64 == 0 ? 64 : 0;
    const kernels::Quantised few = kernels::device_form(kernels::quantise(*p.tensor, format.bits, group), format.dtype);
    *p.tensor = few.q;
    *p.scale = few.scale;
  }
}

at::Tensor noise(at::IntArrayRef shape, const Format& format) {
  return at::randn(shape, make_generator(2), at::TensorOptions(at::kFloat)).to(format.options());
}

int64_t bytes_of(const ParameterList& list) {
  int64_t bytes = 0;
  for (const Parameter& p : list) bytes += p.bytes();
  return bytes;
}

}  // namespace glmimage::bench
