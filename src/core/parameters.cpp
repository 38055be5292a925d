#include "core/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/listing.h"
#include "core/staging.h"

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

// How a file has one parameter.
enum class Stored { absent, floats, int8, int4 };

Stored stored_as(const Parameter& p, const WeightFiles& files) {
  if (p.scale && files.has(quantised_names(p.name).packed)) return Stored::int4;
  if (!files.has(p.name)) return Stored::absent;
  return p.scale && files.info(p.name).dtype == at::kChar ? Stored::int8 : Stored::floats;
}

std::string shape_fault(const TensorInfo& info, const std::vector<int64_t>& expected) {
  return info.shape == expected
             ? ""
             : concat(info.name, " is ", shape_text(info.shape), ", expected ", shape_text(expected));
}

// What is wrong with a matrix of few bits, or nothing.
std::string quantised_fault(const Parameter& p, const WeightFiles& files, Stored stored) {
  const QuantisedNames names = quantised_names(p.name);
  const int64_t out = p.shape[0], in = p.shape[1];
  const TensorInfo& q = files.info(stored == Stored::int4 ? names.packed : p.name);
  if (stored == Stored::int4 && q.dtype != at::kInt) {
    return concat(q.name, " has the type ", safetensors_dtype_name(q.dtype), ", expected I32");
  }
  std::string fault = shape_fault(q, stored == Stored::int4 ? std::vector{out, in / 8} : p.shape);
  if (!fault.empty()) return fault;
  if (!files.has(names.scale)) return concat(q.name, " holds integers, and ", names.scale, " is missing");
  const TensorInfo& scale = files.info(names.scale);
  if (!at::isFloatingType(scale.dtype)) {
    return concat(scale.name, " has the type ", safetensors_dtype_name(scale.dtype), ", expected a float type");
  }
  const bool fits = scale.shape.size() == 2 && scale.shape[0] == out && scale.shape[1] > 0 && in % scale.shape[1] == 0;
  return fits ? "" : concat(scale.name, " is ", shape_text(scale.shape), ", expected (", out, ", groups of ", in, ")");
}

void load_quantised(const Parameter& p, const WeightFiles& files, Stored stored, Staging& staging) {
  const QuantisedNames names = quantised_names(p.name);
  const at::Tensor q = stored == Stored::int4 ? files.tensor(names.packed).view(at::kByte) : files.tensor(p.name);
  const at::Tensor scale = files.tensor(names.scale);
  *p.tensor = staging.bring(q, q.scalar_type());
  *p.scale = staging.bring(scale, scale.scalar_type() == at::kBFloat16 ? at::kBFloat16 : at::kFloat);
  if (!p.tensor->is_alias_of(q)) files.release(stored == Stored::int4 ? names.packed : p.name);
}

}  // namespace

QuantisedNames quantised_names(const std::string& name) { return {name + "_packed", name + "_scale", name + "_shape"}; }

void append_quantised(NamedTensors& tensors, const std::string& name, const std::vector<int64_t>& shape,
                      const at::Tensor& q, const at::Tensor& scale) {
  const QuantisedNames names = quantised_names(name);
  // A device's own order of 4 bits (kernels/device_form.h), which no file has.
  if (q.scalar_type() == at::kInt) fail(ErrorKind::internal, name, " is in a form of its device and cannot be written");
  if (q.scalar_type() == at::kByte) {
    tensors.emplace_back(names.packed, q.view(at::kInt));
    tensors.emplace_back(names.shape, at::tensor(shape, at::kLong));
  } else {
    tensors.emplace_back(name, q);
  }
  tensors.emplace_back(names.scale, scale);
}

int64_t Parameter::bytes() const {
  return static_cast<int64_t>((tensor->defined() ? tensor->nbytes() : 0) + (quantised() ? scale->nbytes() : 0));
}

void load_parameters(const ParameterList& list, const WeightFiles& files, const Placement& placement,
                     const std::vector<std::string>& ignored_prefixes) {
  std::vector<std::string> missing, wrong, unexpected;
  std::set<std::string> expected;
  for (const Parameter& p : list) {
    const Stored stored = stored_as(p, files);
    if (stored != Stored::int4) expected.insert(p.name);
    if (stored == Stored::absent) {
      if (!p.optional) missing.push_back(p.name);
      continue;
    }
    if (stored != Stored::floats) {
      const QuantisedNames names = quantised_names(p.name);
      expected.insert(names.scale);
      if (stored == Stored::int4) expected.insert({names.packed, names.shape});
      if (const std::string fault = quantised_fault(p, files, stored); !fault.empty()) wrong.push_back(fault);
      continue;
    }
    const TensorInfo& info = files.info(p.name);
    if (const std::string fault = shape_fault(info, p.shape); !fault.empty()) {
      wrong.push_back(fault);
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
  Staging staging(placement.device);
  for (const Parameter& p : list) {
    const Stored form = stored_as(p, files);
    if (p.scale) *p.scale = at::Tensor();
    if (form == Stored::absent) continue;
    if (form != Stored::floats) {
      load_quantised(p, files, form, staging);
      continue;
    }
    at::Tensor stored = files.tensor(p.name);
    // A no-op (still mapped, zero copies) when type and device already fit.
    *p.tensor = staging.bring(stored, placement.dtype.value_or(stored.scalar_type()));
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
    if (p.quantised()) {
      append_quantised(out, p.name, p.shape, t, p.scale->detach());
      continue;
    }
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
