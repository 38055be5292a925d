#include "core/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/listing.h"

namespace glmimage {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string out = "(";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + ")";
}

bool starts_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& p) { return name.rfind(p, 0) == 0; });
}

// The first few faults of one kind, and how many more there are.
void append_faults(std::string& message, const std::string& title, const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  message += concat("; ", faults.size(), " ", title, ": ", listed(faults));
}

}  // namespace

void load_parameters(const ParameterList& list, const WeightFiles& files, const Placement& placement,
                     const std::vector<std::string>& ignored_prefixes) {
  std::vector<std::string> missing, wrong, unexpected;
  std::set<std::string> expected;
  for (const Parameter& p : list) {
    expected.insert(p.name);
    if (!files.has(p.name)) {
      if (!p.optional) missing.push_back(p.name);
      continue;
    }
    const TensorInfo& info = files.info(p.name);
    if (info.shape != p.shape) {
      wrong.push_back(concat(p.name, " is ", shape_text(info.shape), ", expected ", shape_text(p.shape)));
    } else if (!at::isFloatingType(info.dtype)) {
      wrong.push_back(concat(p.name, " has the type ", safetensors_dtype_name(info.dtype), ", expected a float type"));
    }
  }
  for (const std::string& name : files.names()) {
    if (!expected.count(name) && !starts_with_any(name, ignored_prefixes)) unexpected.push_back(name);
  }
  if (!missing.empty() || !wrong.empty() || !unexpected.empty()) {
    std::string message = files.folder().string() + ": the weights do not fit the configuration";
    append_faults(message, "missing", missing);
    append_faults(message, "of the wrong shape or type", wrong);
    append_faults(message, "unexpected", unexpected);
    throw Error(ErrorKind::checkpoint, message);
  }
  for (const Parameter& p : list) {
    if (!files.has(p.name)) continue;
    at::Tensor stored = files.tensor(p.name);
    // A no-op (still mapped, zero copies) when type and device already fit.
    *p.tensor = stored.to(placement.device, placement.dtype.value_or(stored.scalar_type()));
    if (!p.tensor->is_alias_of(stored)) files.release(p.name);  // or file and copy would fill the memory twice
  }
}

void init_parameters(const ParameterList& list, at::Generator generator) {
  for (const Parameter& p : list) {
    switch (p.init.kind) {
      case Init::Kind::normal: *p.tensor = at::randn(p.shape, generator, at::kFloat).mul_(p.init.scale); break;
      case Init::Kind::uniform:
        *p.tensor = at::empty(p.shape, at::kFloat).uniform_(-p.init.scale, p.init.scale, generator);
        break;
      case Init::Kind::zeros: *p.tensor = at::zeros(p.shape, at::kFloat); break;
      case Init::Kind::ones: *p.tensor = at::ones(p.shape, at::kFloat); break;
    }
  }
}

NamedTensors named_tensors(const ParameterList& list, std::optional<at::ScalarType> dtype) {
  NamedTensors out;
  for (const Parameter& p : list) {
    if (!p.tensor->defined()) continue;
    at::Tensor t = p.tensor->detach();
    out.emplace_back(p.name, dtype ? t.to(*dtype) : t);
  }
  return out;
}

int64_t count_elements(const ParameterList& list) {
  int64_t total = 0;
  for (const Parameter& p : list) total += c10::multiply_integers(p.shape);
  return total;
}

}  // namespace glmimage
