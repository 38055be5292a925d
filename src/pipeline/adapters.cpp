#include "pipeline/adapters.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace glmimage {

void Adapters::merge_into(ArModel& model) const {
  if (ar.empty()) return;
  ParameterList list;
  model.list(list);
  merge_lora(list, ar);
}

void Adapters::merge_into(DitModel& model) const {
  ParameterList list;
  model.list(list);
  merge_lora(list, dit);
}

Adapters read_adapters(const std::vector<LoraChoice>& choices, const std::filesystem::path& model) {
  Adapters out;
  if (choices.empty()) return out;
  // Models without weights: their lists say which matrices there will be.
  DitModel dit(DitConfig::from_json(JsonObject::open(model / "transformer" / "config.json")));
  ArModel ar(ArConfig::from_json(JsonObject::open(model / "vision_language_encoder" / "config.json")));
  ParameterList dit_list, ar_list;
  dit.list(dit_list);
  ar.list(ar_list);
  for (const LoraChoice& choice : choices) {
    if (!std::isfinite(choice.scale)) {
      fail(ErrorKind::usage, choice.file.string(), ": the scale of an adapter should be a number, not ", choice.scale);
    }
    Lora lora = match_lora(LoraFile::open(choice.file), {.dit = &dit_list, .ar = &ar_list});
    add_scaled(out.dit, lora.dit, choice.scale);
    add_scaled(out.ar, lora.ar, choice.scale);
    out.uses.push_back({choice, static_cast<int64_t>(lora.dit.size() + lora.ar.size()), std::move(lora.unmatched)});
  }
  return out;
}

}  // namespace glmimage
