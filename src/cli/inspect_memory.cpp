#include "cli/inspect_memory.h"

#include <algorithm>
#include <cstdio>

#include "cli/human_bytes.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/json.h"
#include "pipeline/forecast.h"

namespace glmimage::cli {
namespace {

using nlohmann::json;

const char* stage_name(Stage stage) {
  switch (stage) {
    case Stage::load: return "load";
    case Stage::references: return "references";
    case Stage::visual_tokens: return "visual_tokens";
    case Stage::glyphs: return "glyphs";
    case Stage::denoise: return "denoise";
    case Stage::decode: return "decode";
  }
  return "";
}

json stage_entry(const StageNeed& need, int64_t peak) {
  return {{"stage", stage_name(need.stage)},
          {"weight_bytes", peak - need.total()},
          {"activation_bytes", need.activations},
          {"cache_bytes", need.cache},
          {"peak_bytes", peak}};
}

// The highest stage, and all of them.
json describe(const MemoryPlan& plan, const std::vector<StageNeed>& needs) {
  json stages = json::array();
  for (size_t i = 0; i < needs.size(); ++i) stages.push_back(stage_entry(needs[i], plan.stages[i]));
  const auto highest = std::max_element(plan.stages.begin(), plan.stages.end()) - plan.stages.begin();
  json out = stages[static_cast<size_t>(highest)];
  out["stages"] = std::move(stages);
  return out;
}

}  // namespace

bool draws_pictures(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "model_index.json")) return false;
  return JsonObject::open(folder / "model_index.json").text_or("_class_name", "") == "GlmImagePipeline";
}

json predict_memory(const std::filesystem::path& folder, const MemoryQuestion& question) {
  PipelineOptions options{.model = folder,
                          .device = parse_device(question.device).device,
                          .dtype = parse_dtype(question.dtype),
                          .loras = {}};
  options.largest.width = question.width;
  options.largest.height = question.height;
  const int64_t own = VaeConfig::from_json(JsonObject::open(folder / "vae" / "config.json")).sample_size;
  options.largest.references.assign(static_cast<size_t>(question.references),
                                    {question.height.value_or(own), question.width.value_or(own)});
  const Forecast forecast = forecast_memory(options, {});
  return {{"device", question.device},
          {"dtype", dtype_name(forecast.dtype)},
          {"width", question.width.value_or(own)},
          {"height", question.height.value_or(own)},
          {"references", question.references},
          {"resident", describe(plan_resident(forecast.costs, forecast.needs), forecast.needs)},
          {"low", describe(plan_low(forecast.costs, forecast.needs, std::nullopt), forecast.needs)},
          {"least", describe(plan_least(forecast.costs, forecast.needs), forecast.needs)}};
}

void print_memory(const json& prediction) {
  std::printf("memory of its own for a picture of %lld x %lld, %s on %s:\n",
              static_cast<long long>(prediction["width"].get<int64_t>()),
              static_cast<long long>(prediction["height"].get<int64_t>()),
              prediction["dtype"].get<std::string>().c_str(), prediction["device"].get<std::string>().c_str());
  std::printf("  %-26s %12s %12s %12s %12s  %s\n", "", "weights", "activations", "caches", "peak", "in stage");
  const std::pair<const char*, const char*> rows[] = {
      {"resident", "all resident"}, {"low", "--memory low"}, {"least", "least (layer by layer)"}};
  for (const auto& [key, title] : rows) {
    const json& row = prediction[key];
    const auto bytes = [&](const char* field) { return human_bytes(row[field].get<int64_t>()); };
    std::printf("  %-26s %12s %12s %12s %12s  %s\n", title, bytes("weight_bytes").c_str(),
                bytes("activation_bytes").c_str(), bytes("cache_bytes").c_str(), bytes("peak_bytes").c_str(),
                row["stage"].get<std::string>().c_str());
  }
}

}  // namespace glmimage::cli
