#include "models/lora/config.h"

#include <cmath>

#include "core/error.h"
#include "core/safetensors.h"

namespace glmimage {
namespace {

using nlohmann::json;

// Fields that, when set, make an adapter something else than W + scale · b a.
constexpr const char* kRefused[] = {"use_dora",
                                    "lora_bias",
                                    "modules_to_save",
                                    "layer_replication",
                                    "target_parameters",
                                    "trainable_token_indices",
                                    "alora_invocation_tokens",
                                    "use_qalora",
                                    "use_bdlora",
                                    "kasa_config",
                                    "monteclora_config",
                                    "arrow_config"};
// Initialisations that take something away from W, which the file does not tell.
constexpr const char* kChangedBase[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};

bool is_set(const JsonObject& config, const char* field) {
  if (!config.has(field)) return false;
  const json& value = config.value().at(field);
  return !(value == false || ((value.is_array() || value.is_object()) && value.empty()));
}

void check_kind(const JsonObject& config) {
  const std::string kind = config.text_or("peft_type", "LORA");
  if (kind != "LORA") config.reject("peft_type", "is " + quoted_name(kind) + "; only LORA is read");
  for (const char* field : kRefused) {
    if (is_set(config, field)) config.reject(field, "is set: an adapter of a kind that is not read");
  }
  const std::string bias = config.text_or("bias", "none");
  if (bias != "none") config.reject("bias", "is " + quoted_name(bias) + "; only 'none' is read");
  if (!config.has("init_lora_weights") || !config.value().at("init_lora_weights").is_string()) return;
  const std::string init = config.text("init_lora_weights");
  for (const char* name : kChangedBase) {
    if (init.rfind(name, 0) == 0) {
      config.reject("init_lora_weights", "is " + quoted_name(init) + ": made for weights that were changed first");
    }
  }
}

double finite(const JsonObject& config, const std::string& field) {
  const double value = config.number(field);
  if (!std::isfinite(value)) config.reject(field, "should be a number that is not too large");
  return value;
}

// {"attn1.to_q": 8, …}. PEFT reads the keys as regular expressions; those of a hostile file are better not run.
template <typename Value, typename Read>
std::vector<std::pair<std::string, Value>> pattern(const JsonObject& config, const char* field, const Read& read) {
  std::vector<std::pair<std::string, Value>> out;
  if (!is_set(config, field)) return out;
  const JsonObject entries = config.object(field);
  for (const auto& entry : entries.value().items()) {
    const std::string& name = entry.key();
    if (name.find_first_of("*+?[](){}|\\$") != std::string::npos || name.find('^') != name.rfind('^')) {
      entries.reject(quoted_name(name), "is a regular expression; only names of modules and their ends are read");
    }
    out.emplace_back(name, read(entries, name));
  }
  return out;
}

bool fits(const std::string& pattern, const std::string& module) {
  if (pattern.empty()) return false;
  if (pattern.front() == '^') return pattern.compare(1, std::string::npos, module) == 0;
  if (pattern == module) return true;
  return module.size() > pattern.size() && module.ends_with(pattern) &&
         module[module.size() - pattern.size() - 1] == '.';
}

template <typename Value>
Value of_module(const std::vector<std::pair<std::string, Value>>& patterns, const std::string& module,
                Value otherwise) {
  for (const auto& [name, value] : patterns) {
    if (fits(name, module)) return value;
  }
  return otherwise;
}

}  // namespace

LoraConfig LoraConfig::from_json(const JsonObject& config) {
  check_kind(config);
  LoraConfig out;
  out.rank = config.positive("r");
  out.alpha = finite(config, "lora_alpha");
  out.rank_stabilised = config.boolean_or("use_rslora", false);
  out.rank_pattern = pattern<int64_t>(
      config, "rank_pattern", [](const JsonObject& entries, const std::string& key) { return entries.positive(key); });
  out.alpha_pattern = pattern<double>(
      config, "alpha_pattern", [](const JsonObject& entries, const std::string& key) { return finite(entries, key); });
  return out;
}

json LoraConfig::to_json(const std::vector<std::string>& modules) const {
  json ranks = json::object(), alphas = json::object();
  for (const auto& [name, value] : rank_pattern) ranks[name] = value;
  for (const auto& [name, value] : alpha_pattern) alphas[name] = value;
  return {{"r", rank},
          {"lora_alpha", alpha},
          {"use_rslora", rank_stabilised},
          {"rank_pattern", std::move(ranks)},
          {"alpha_pattern", std::move(alphas)},
          {"target_modules", modules}};
}

int64_t LoraConfig::rank_of(const std::string& module) const { return of_module(rank_pattern, module, rank); }
double LoraConfig::alpha_of(const std::string& module) const { return of_module(alpha_pattern, module, alpha); }

}  // namespace glmimage
