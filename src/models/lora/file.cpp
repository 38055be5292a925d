#include "models/lora/file.h"

#include <cmath>
#include <map>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "models/lora/config.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

enum class Role { a, b, alpha };

struct Ending {
  const char* text;
  Role role;
};
constexpr Ending kEndings[] = {
    {".lora_A.weight", Role::a},                                               // PEFT, diffusers, ComfyUI
    {".lora_B.weight", Role::b},         {".lora_A.default.weight", Role::a},  // PEFT's adapter called "default"
    {".lora_B.default.weight", Role::b}, {".lora_down.weight", Role::a},       // kohya, ComfyUI
    {".lora_up.weight", Role::b},        {".lora.down.weight", Role::a},       // diffusers of old
    {".lora.up.weight", Role::b},        {".alpha", Role::alpha},
};

// Names that are an adapter's, but of a kind that is more than a pair of matrices. Leaving them out would change
// pictures.
struct Kind {
  const char* fragment;
  const char* name;
};
constexpr Kind kRefused[] = {{".lora_magnitude_vector", "DoRA"},
                             {".dora_scale", "DoRA"},
                             {".hada_", "LoHa"},
                             {".lokr_", "LoKr"},
                             {".oft_", "OFT"},
                             {".lora_mid.", "LoCon with a third matrix"},
                             {".lora_embedding_", "an adapter of embeddings"},
                             {".lora_B.bias", "LoRA with biases"},
                             {".lora_up.bias", "LoRA with biases"}};

struct Prefix {
  const char* text;
  std::optional<LoraPart> part;
};
constexpr Prefix kUnderscored[] = {{"lora_unet_", LoraPart::dit},
                                   {"lora_transformer_", LoraPart::dit},
                                   {"lora_te_", LoraPart::ar},
                                   {"lora_te1_", LoraPart::ar}};
constexpr Prefix kDotted[] = {{"base_model.model.", std::nullopt},
                              {"transformer.", LoraPart::dit},
                              {"diffusion_model.", LoraPart::dit},
                              {"vision_language_encoder.", LoraPart::ar}};

// The tensors of one stem.
struct Found {
  const TensorInfo *a = nullptr, *b = nullptr, *alpha = nullptr;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "(";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + ")";
}

// PEFT saves the matrix itself as well where it is an embedding or the last layer.
bool is_base(const std::string& name) {
  return name.ends_with(".base_layer.weight") || name.ends_with(".base_layer.bias");
}

const Ending* ending_of(const std::string& name) {
  for (const Ending& ending : kEndings) {
    if (name.ends_with(ending.text)) return &ending;
  }
  return nullptr;
}

void refuse_other_kinds(const std::string& file, const std::string& name) {
  for (const Kind& kind : kRefused) {
    if (name.find(kind.fragment) != std::string::npos) {
      fail(ErrorKind::checkpoint, file, ": tensor ", quoted_name(name), " is of ", kind.name,
           "; only LoRA with two matrices a module is read");
    }
  }
}

void place(LoraEntry& entry) {
  entry.path = entry.stem;
  for (const Prefix& prefix : kUnderscored) {
    if (!entry.stem.starts_with(prefix.text)) continue;
    entry.style = LoraPath::underscored;
    entry.part = prefix.part;
    entry.path = entry.stem.substr(std::string(prefix.text).size());
    return;
  }
  for (bool more = true; more;) {  // prefixes come in either order
    more = false;
    for (const Prefix& prefix : kDotted) {
      if (!entry.path.starts_with(prefix.text)) continue;
      if (prefix.part) entry.part = prefix.part;
      entry.path = entry.path.substr(std::string(prefix.text).size());
      more = true;
    }
  }
}

// The configurations that may speak for an adapter without alphas of its own.
struct Configs {
  std::optional<LoraConfig> whole, dit, ar;
  fs::path source;

  const LoraConfig* of(const LoraEntry& entry) const {
    if (entry.style == LoraPath::underscored) return nullptr;
    if (entry.part == LoraPart::dit && dit) return &*dit;
    if (entry.part == LoraPart::ar && ar) return &*ar;
    return whole ? &*whole : nullptr;
  }
};

// diffusers' metadata: one object whose fields are "r" for a single model or "transformer.r" for one of several.
std::optional<LoraConfig> config_of(const fs::path& file, const json& all, const std::string& prefix) {
  json fields = json::object();
  for (const auto& [name, value] : all.items()) {
    if (name.starts_with(prefix)) fields[name.substr(prefix.size())] = value;
  }
  if (!fields.contains("r")) return std::nullopt;
  return LoraConfig::from_json({file, "lora_adapter_metadata." + prefix, std::move(fields)});
}

Configs read_configs(const SafetensorsFile& file) {
  Configs out;
  const auto stored = file.metadata().find("lora_adapter_metadata");
  if (stored != file.metadata().end()) {
    json all;
    try {
      all = json::parse(stored->second);
    } catch (const json::exception& e) {
      fail(ErrorKind::checkpoint, file.path().string(),
           ": metadata 'lora_adapter_metadata' is not valid JSON: ", e.what());
    }
    if (!all.is_object()) {
      fail(ErrorKind::checkpoint, file.path().string(), ": metadata 'lora_adapter_metadata' should be a JSON object");
    }
    out.source = file.path();
    out.whole = config_of(file.path(), all, "");
    out.dit = config_of(file.path(), all, std::string(lora_prefix(LoraPart::dit)) + ".");
    out.ar = config_of(file.path(), all, std::string(lora_prefix(LoraPart::ar)) + ".");
    return out;
  }
  const fs::path beside = file.path().parent_path() / "adapter_config.json";
  std::error_code error;
  if (!fs::exists(beside, error)) return out;
  bool peft = false;  // ComfyUI's and kohya's files carry their own alphas, or mean the rank
  for (const TensorInfo& info : file.tensors()) {
    peft = peft || (info.name.find(".lora_A.") != std::string::npos && !info.name.starts_with("diffusion_model."));
  }
  if (!peft) return out;
  out.source = beside;
  out.whole = LoraConfig::from_json(JsonObject::open(beside));
  return out;
}

void check_matrix(const std::string& file, const TensorInfo& info, const char* expected) {
  const std::string where = concat(file, ": tensor ", quoted_name(info.name));
  if (info.shape.size() != 2) {
    fail(ErrorKind::checkpoint, where, " is ", shape_text(info.shape), ", expected ", expected);
  }
  if (!at::isFloatingType(info.dtype)) {
    fail(ErrorKind::checkpoint, where, " has the type ", safetensors_dtype_name(info.dtype), ", expected a float type");
  }
}

void check_pair(const std::string& file, const std::string& stem, const Found& found) {
  if (!found.a || !found.b) {
    const char* missing = found.a ? "the second (lora_B or lora_up)" : "the first (lora_A or lora_down)";
    fail(ErrorKind::checkpoint, file, ": of the two matrices of ", quoted_name(stem), " ",
         found.a || found.b ? missing : "both", found.a || found.b ? " is missing" : " are missing",
         ": an incomplete adapter?");
  }
  check_matrix(file, *found.a, "(rank, in)");
  check_matrix(file, *found.b, "(out, rank)");
  const int64_t rank = found.a->shape[0];
  if (rank != found.b->shape[1]) {
    fail(ErrorKind::checkpoint, file, ": the ranks of ", quoted_name(stem), " differ: ", quoted_name(found.a->name),
         " is ", shape_text(found.a->shape), ", (rank, in), and ", quoted_name(found.b->name), " is ",
         shape_text(found.b->shape), ", (out, rank)");
  }
  if (rank == 0) fail(ErrorKind::checkpoint, file, ": ", quoted_name(stem), " has rank 0, expected 1 or more");
}

double read_alpha(const SafetensorsFile& file, const TensorInfo& info) {
  const std::string where = concat(file.path().string(), ": tensor ", quoted_name(info.name));
  if (info.elements() != 1) fail(ErrorKind::checkpoint, where, " is ", shape_text(info.shape), ", expected one number");
  const double alpha = file.tensor(info.name).to(at::kDouble).item<double>();
  if (!std::isfinite(alpha)) fail(ErrorKind::checkpoint, where, " is ", alpha, ", expected a finite number");
  return alpha;
}

void set_scale(LoraEntry& entry, const SafetensorsFile& file, const TensorInfo* alpha, const Configs& configs) {
  const int64_t rank = entry.pair.a.size(0);
  entry.alpha = static_cast<double>(rank);
  double divisor = static_cast<double>(rank);
  const LoraConfig* config = configs.of(entry);
  if (alpha) {
    entry.alpha = read_alpha(file, *alpha);
  } else if (config) {
    if (config->rank_of(entry.path) != rank) {
      fail(ErrorKind::checkpoint, configs.source.string(), ": says rank ", config->rank_of(entry.path), " of ",
           quoted_name(entry.stem), ", whose matrices have rank ", rank, ": the configuration of another adapter?");
    }
    entry.alpha = config->alpha_of(entry.path);
  }
  if (config && config->rank_stabilised) divisor = std::sqrt(divisor);
  entry.pair.scale = entry.alpha / divisor;
}

fs::path resolve(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  for (const char* name : {"adapter_model.safetensors", "pytorch_lora_weights.safetensors"}) {
    if (fs::exists(path / name, error)) return path / name;
  }
  fail(ErrorKind::checkpoint, path.string(),
       ": holds no adapter (adapter_model.safetensors or pytorch_lora_weights.safetensors)");
}

}  // namespace

const char* lora_prefix(LoraPart part) { return part == LoraPart::dit ? "transformer" : "vision_language_encoder"; }

bool LoraFile::is_adapter(const SafetensorsFile& file) {
  for (const TensorInfo& info : file.tensors()) {
    const Ending* ending = ending_of(info.name);
    if (ending && ending->role != Role::alpha) return true;
  }
  return false;
}

LoraFile LoraFile::open(const fs::path& path) { return read(SafetensorsFile::open(resolve(path))); }

LoraFile LoraFile::read(const SafetensorsFile& file) {
  const std::string name = file.path().string();
  LoraFile out;
  out.path = file.path();
  std::map<std::string, Found> stems;
  for (const TensorInfo& info : file.tensors()) {
    refuse_other_kinds(name, info.name);
    const Ending* ending = ending_of(info.name);
    if (!ending) {
      if (!is_base(info.name)) out.unknown.push_back(info.name);
      continue;
    }
    const std::string stem = info.name.substr(0, info.name.size() - std::string(ending->text).size());
    Found& found = stems[stem];
    const TensorInfo*& slot = ending->role == Role::a ? found.a : ending->role == Role::b ? found.b : found.alpha;
    if (slot) {
      fail(ErrorKind::checkpoint, name, ": ", quoted_name(slot->name), " and ", quoted_name(info.name),
           " are the same matrix by two names");
    }
    slot = &info;
  }
  if (stems.empty()) {
    fail(ErrorKind::checkpoint, name, ": holds no adapter; its ", file.tensors().size(),
         " tensors are called otherwise (lora_A and lora_B, or lora_down and lora_up)");
  }
  const Configs configs = read_configs(file);
  for (const auto& [stem, found] : stems) {
    check_pair(name, stem, found);
    LoraEntry entry;
    entry.stem = stem;
    place(entry);
    entry.a_name = found.a->name;
    entry.b_name = found.b->name;
    entry.pair = {file.tensor(entry.a_name), file.tensor(entry.b_name)};
    set_scale(entry, file, found.alpha, configs);
    out.entries.push_back(std::move(entry));
  }
  return out;
}

}  // namespace glmimage
