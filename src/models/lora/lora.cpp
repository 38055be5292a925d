#include "models/lora/lora.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/listing.h"
#include "core/safetensors.h"
#include "models/lora/config.h"

namespace glmimage {
namespace {

// "attn1.to_q.weight" -> "attn1.to_q"
std::string module_of(const Parameter& p) { return p.name.substr(0, p.name.rfind('.')); }

// One model's matrices that take a pair, by the names files have for them.
struct Matrices {
  LoraPart part;
  std::map<std::string, const Parameter*> dotted, underscored;

  Matrices(LoraPart part, const ParameterList& list) : part(part) {
    for (const Parameter& p : list) {
      if (!p.low_rank) continue;
      std::string module = module_of(p);
      dotted[module] = &p;
      std::replace(module.begin(), module.end(), '.', '_');
      underscored[module] = &p;
    }
  }
  const Parameter* find(const LoraEntry& entry) const {
    if (entry.part && *entry.part != part) return nullptr;
    const auto& names = entry.style == LoraPath::dotted ? dotted : underscored;
    const auto it = names.find(entry.path);
    return it == names.end() ? nullptr : it->second;
  }
};

// What is wrong with the shapes, or nothing.
std::string shape_fault(const LoraEntry& entry, const Parameter& p) {
  const int64_t out = p.shape[0], in = p.shape[1];
  const at::Tensor &a = entry.pair.a, &b = entry.pair.b;
  if (a.size(1) != in) {
    return concat(quoted_name(entry.a_name), " is ", a.sizes(), ", expected [rank, ", in, "]");
  }
  if (b.size(0) != out) {
    return concat(quoted_name(entry.b_name), " is ", b.sizes(), ", expected [", out, ", rank]");
  }
  return "";
}

at::Tensor finite(const LoraFile& file, const std::string& name, const at::Tensor& stored) {
  at::Tensor wide = stored.to(at::kFloat);
  if (!at::isfinite(wide).all().item<bool>()) {
    fail(ErrorKind::checkpoint, file.path.string(), ": tensor ", quoted_name(name),
         " holds values that are not finite");
  }
  return wide;
}

// The entries of the adapter's own list that belong to one matrix.
void list_pair(ParameterList& list, const Parameter& p) {
  const std::string module = module_of(p);
  LowRank& pair = *p.low_rank;
  const double bound = 1 / std::sqrt(static_cast<double>(pair.a.size(1)));
  list.push_back({module + ".lora_A.weight", &pair.a, pair.a.sizes().vec(), Init::uniform(bound)});
  list.push_back({module + ".lora_B.weight", &pair.b, pair.b.sizes().vec(), Init::zeros()});
}

bool carries_pair(const Parameter& p) { return p.low_rank && p.low_rank->a.defined(); }

bool targeted(const std::string& module, const std::string& target) {
  return module == target || module.ends_with("." + target);
}

// Rank and alpha of all pairs: the first pair's, and the others where they differ.
LoraConfig config_of(const ParameterList& list, std::vector<std::string>& modules) {
  LoraConfig config;
  for (const Parameter& p : list) {
    if (!carries_pair(p)) continue;
    const std::string module = module_of(p);
    const int64_t rank = p.low_rank->a.size(0);
    const double alpha = p.low_rank->scale * static_cast<double>(rank);
    if (modules.empty()) config.rank = rank, config.alpha = alpha;
    if (rank != config.rank) config.rank_pattern.emplace_back(module, rank);
    if (alpha != config.alpha) config.alpha_pattern.emplace_back(module, alpha);
    modules.push_back(module);
  }
  return config;
}

}  // namespace

Lora match_lora(const LoraFile& file, const LoraModels& models) {
  std::vector<Matrices> matrices;
  if (models.dit) matrices.emplace_back(LoraPart::dit, *models.dit);
  if (models.ar) matrices.emplace_back(LoraPart::ar, *models.ar);
  Lora out;
  std::vector<std::string> wrong, names;
  for (const LoraEntry& entry : file.entries) {
    const Parameter* p = nullptr;
    LowRankMap* pairs = nullptr;
    for (const Matrices& each : matrices) {
      p = each.find(entry);
      pairs = each.part == LoraPart::dit ? &out.dit : &out.ar;
      if (p) break;
    }
    if (!p) {
      out.unmatched.push_back(entry.a_name);
      names.push_back(quoted_name(entry.a_name));
      continue;
    }
    if (const std::string fault = shape_fault(entry, *p); !fault.empty()) {
      wrong.push_back(fault);
      continue;
    }
    LowRank pair{finite(file, entry.a_name, entry.pair.a), finite(file, entry.b_name, entry.pair.b), entry.pair.scale};
    if (!pairs->emplace(p->name, std::move(pair)).second) {
      fail(ErrorKind::checkpoint, file.path.string(), ": two pairs of matrices change ", p->name, "; one is ",
           quoted_name(entry.a_name));
    }
  }
  const std::string prefix = file.path.string() + ": the adapter does not fit this model; ";
  if (!wrong.empty()) {
    throw Error(ErrorKind::checkpoint, concat(prefix, wrong.size(), " of its ", file.entries.size(),
                                              " pairs have the wrong shape: ", listed(wrong)));
  }
  if (out.dit.empty() && out.ar.empty()) {
    throw Error(ErrorKind::checkpoint,
                concat(prefix, "none of its ", file.entries.size(), " pairs names a matrix of it: ", listed(names)));
  }
  out.unmatched.insert(out.unmatched.end(), file.unknown.begin(), file.unknown.end());
  return out;
}

void add_scaled(LowRankMap& total, const LowRankMap& more, double scale) {
  if (scale == 0) return;  // not even a zero of the other sign
  for (const auto& [name, pair] : more) {
    LowRank& sum = total[name];
    const double strength = pair.scale * scale;
    // Copies: the file's tensors are mapped, and these may be trained.
    sum = sum.a.defined() ? LowRank{at::cat({sum.a, pair.a}, 0), at::cat({sum.b * sum.scale, pair.b * strength}, 1), 1}
                          : LowRank{pair.a.clone(), pair.b.clone(), strength};
  }
}

void merge_lora(const ParameterList& list, const LowRankMap& pairs) {
  for (const Parameter& p : list) {
    const auto it = p.low_rank ? pairs.find(p.name) : pairs.end();
    if (it == pairs.end()) continue;
    if (p.quantised()) {  // integers have no room for it
      attach_lora({p}, {*it});
      continue;
    }
    const at::Tensor w = p.tensor->detach();                                            // (out, in)
    const at::Tensor a = it->second.a.to(w.device()), b = it->second.b.to(w.device());  // (rank, in), (out, rank)
    *p.tensor = at::addmm(w.to(at::kFloat), b, a, 1, it->second.scale).to(w.scalar_type());
  }
}

void attach_lora(const ParameterList& list, const LowRankMap& pairs) {
  for (const Parameter& p : list) {
    const auto it = p.low_rank ? pairs.find(p.name) : pairs.end();
    if (it == pairs.end()) continue;
    const at::Device device = p.tensor->device();
    *p.low_rank = {it->second.a.to(device, at::kFloat, false, /*copy=*/true),
                   it->second.b.to(device, at::kFloat, false, /*copy=*/true), it->second.scale};
  }
}

void add_lora(const ParameterList& list, const LoraSpec& spec, at::Generator generator) {
  if (spec.rank < 1) fail(ErrorKind::usage, "an adapter of rank ", spec.rank, "; 1 or more is needed");
  for (const std::string& target : spec.targets) {
    const auto fits = [&](const Parameter& p) { return p.low_rank && targeted(module_of(p), target); };
    if (std::none_of(list.begin(), list.end(), fits)) {
      fail(ErrorKind::usage, "'", target, "' names no matrix that an adapter could change");
    }
  }
  for (const Parameter& p : list) {
    const auto wants = [&](const std::string& target) { return targeted(module_of(p), target); };
    if (!p.low_rank || std::none_of(spec.targets.begin(), spec.targets.end(), wants)) continue;
    *p.low_rank = {at::empty({spec.rank, p.shape[1]}), at::empty({p.shape[0], spec.rank}),
                   spec.alpha / static_cast<double>(spec.rank)};
    ParameterList fresh;
    list_pair(fresh, p);
    init_parameters(fresh, generator);
    for (const Parameter& each : fresh) *each.tensor = each.tensor->to(p.tensor->device());
  }
}

ParameterList lora_parameters(const ParameterList& list) {
  ParameterList out;
  for (const Parameter& p : list) {
    if (carries_pair(p)) list_pair(out, p);
  }
  return out;
}

void write_lora(const std::filesystem::path& file, const LoraModels& models, std::optional<at::ScalarType> dtype) {
  NamedTensors tensors;
  nlohmann::json metadata = nlohmann::json::object();
  for (const auto& [part, list] : {std::pair(LoraPart::dit, models.dit), std::pair(LoraPart::ar, models.ar)}) {
    if (!list) continue;
    std::vector<std::string> modules;
    const LoraConfig config = config_of(*list, modules);
    if (modules.empty()) continue;
    const std::string prefix = std::string(lora_prefix(part)) + ".";
    for (auto& [name, tensor] : named_tensors(lora_parameters(*list), dtype))
      tensors.emplace_back(prefix + name, tensor);
    const nlohmann::json fields = config.to_json(modules);
    for (const auto& [field, value] : fields.items()) metadata[prefix + field] = value;
  }
  if (tensors.empty()) fail(ErrorKind::internal, file.string(), ": there is no adapter to write");
  write_safetensors(file, tensors, {{"format", "pt"}, {"lora_adapter_metadata", metadata.dump()}});
}

}  // namespace glmimage
