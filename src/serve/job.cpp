#include "serve/job.h"

#include <array>

#include "core/error.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 5> kStates = {"queued", "running", "done", "failed", "cancelled"};
constexpr std::array<const char*, 6> kStages = {"load", "references", "visual_tokens", "glyphs", "denoise", "decode"};

// Reads `field` into `out`; a missing or null field leaves it as it is.
template <typename T>
void read(const json& value, const char* field, T& out) {
  const auto at = value.find(field);
  if (at != value.end() && !at->is_null()) out = at->get<T>();
}

template <typename T>
void read(const json& value, const char* field, std::optional<T>& out) {
  const auto at = value.find(field);
  if (at != value.end() && !at->is_null()) out = at->get<T>();
}

template <typename T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

// nlohmann's own exceptions name neither the record nor what to do.
template <typename Read>
auto reading(const char* what, Read&& read_fields) {
  try {
    return read_fields();
  } catch (const json::exception& error) {
    fail(ErrorKind::io, "the database holds a broken ", what, ": ", error.what());
  } catch (const Error& error) {
    fail(ErrorKind::io, "the database holds a broken ", what, ": ", error.what());
  }
}

CachePolicy read_cache(const json& value) {
  CachePolicy cache;
  std::string method = "none";
  read(value, "method", method);
  cache.method = parse_cache_method(method);
  read(value, "threshold", cache.threshold);
  read(value, "interval", cache.interval);
  return cache;
}

JobLoras read_loras(const json& value) {
  const auto at = value.find("loras");
  if (at == value.end() || at->is_null()) return {};
  std::vector<JobLora> out;
  for (const json& each : *at) {
    out.push_back({.name = each.at("name").get<std::string>(), .scale = each.at("scale").get<double>()});
  }
  return out;
}

Stage parse_stage(const std::string& name) {
  for (size_t i = 0; i < kStages.size(); ++i) {
    if (name == kStages[i]) return static_cast<Stage>(i);
  }
  fail(ErrorKind::io, "there is no stage '", name, "'");
}

}  // namespace

const char* state_name(JobState state) { return kStates[static_cast<size_t>(state)]; }

std::optional<JobState> parse_state(const std::string& name) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    if (name == kStates[i]) return static_cast<JobState>(i);
  }
  return {};
}

const char* stage_name(Stage stage) { return kStages[static_cast<size_t>(stage)]; }

json loras_json(const JobLoras& loras) {
  if (!loras) return {};
  json out = json::array();
  for (const JobLora& each : *loras) out.push_back({{"name", each.name}, {"scale", each.scale}});
  return out;
}

json JobRequest::to_json() const {
  return {{"prompt", prompt},
          {"references", references},
          {"width", or_null(width)},
          {"height", or_null(height)},
          {"steps", steps},
          {"guidance_scale", guidance_scale},
          {"seed", seed},
          {"temperature", or_null(temperature)},
          {"top_p", or_null(top_p)},
          {"cache", cache.to_json()},
          {"loras", loras_json(loras)},
          {"count", count},
          {"format", format},
          {"quality", or_null(quality)},
          {"partial_images", partial_images},
          {"extra", extra}};
}

JobRequest JobRequest::from_json(const json& value) {
  return reading("request", [&] {
    JobRequest out;
    out.prompt = value.at("prompt").get<std::string>();
    read(value, "references", out.references);
    read(value, "width", out.width);
    read(value, "height", out.height);
    out.steps = value.at("steps").get<int64_t>();
    out.guidance_scale = value.at("guidance_scale").get<double>();
    out.seed = value.at("seed").get<uint64_t>();
    read(value, "temperature", out.temperature);
    read(value, "top_p", out.top_p);
    if (value.contains("cache")) out.cache = read_cache(value.at("cache"));
    out.loras = read_loras(value);
    out.count = value.at("count").get<int64_t>();
    read(value, "format", out.format);
    read(value, "quality", out.quality);
    read(value, "partial_images", out.partial_images);
    read(value, "extra", out.extra);
    return out;
  });
}

json JobProgress::to_json() const {
  json shown = json::array();
  for (const PartialPicture& p : partials) shown.push_back({p.index, p.number, p.blob});
  return {{"index", index}, {"stage", stage_name(stage)}, {"done", done}, {"total", total}, {"partials", shown}};
}

JobProgress JobProgress::from_json(const json& value) {
  return reading("progress", [&] {
    JobProgress out;
    out.index = value.at("index").get<int64_t>();
    out.stage = parse_stage(value.at("stage").get<std::string>());
    out.done = value.at("done").get<int64_t>();
    out.total = value.at("total").get<int64_t>();
    for (const json& p : value.at("partials")) {
      out.partials.push_back({p.at(0).get<int64_t>(), p.at(1).get<int64_t>(), p.at(2).get<std::string>()});
    }
    return out;
  });
}

}  // namespace glmimage::serve
