#include "serve/draw_request.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "core/listing.h"
#include "core/rng.h"
#include "core/sha256.h"
#include "core/shallow_json.h"
#include "pipeline/request.h"
#include "serve/draw_fields.h"

namespace glmimage::serve {
namespace {

constexpr size_t kMostLoras = 8;       // of one request
constexpr double kLargestScale = 100;  // of one of them, also below zero

std::optional<int64_t> side(std::string_view text) {
  int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

}  // namespace

std::optional<AskedSize> parse_size(const std::string& text, const DrawingRules& rules) {
  if (text == "auto") return std::nullopt;
  for (const std::string_view times : {"x", "X", "*", "×"}) {
    const size_t at = text.find(times);
    if (at == std::string::npos) continue;
    const std::optional<int64_t> width = side(std::string_view(text).substr(0, at));
    const std::optional<int64_t> height = side(std::string_view(text).substr(at + times.size()));
    if (!width || !height) break;
    if (*width > kMaxSide || *height > kMaxSide || *width * *height > rules.max_pixels) {
      throw Refusal(400, concat("'size' ", text, " is too large: at most ", rules.max_pixels, " pixels are drawn here"),
                    "size");
    }
    return AskedSize{*width, *height};
  }
  throw Refusal(400, concat("'size' should read like 1024x1024, or be auto, not '", text.substr(0, 40), "'"), "size");
}

void read_prompt(Fields& fields, DrawRequest& out, const DrawingRules& rules) {
  std::optional<std::string> prompt = fields.text("prompt", rules.prompt_characters);
  if (!prompt) throw Refusal(400, "'prompt' is missing: say what to draw", "prompt", "missing_required_parameter");
  if (prompt->find_first_not_of(" \t\r\n") == std::string::npos) {
    throw Refusal(400, "'prompt' is empty: say what to draw", "prompt");
  }
  out.job.prompt = std::move(*prompt);
}

void read_size(Fields& fields, DrawRequest& out, const DrawingRules& rules) {
  const std::optional<std::string> text = fields.text("size");
  if (!text) return;
  if (const std::optional<AskedSize> size = parse_size(*text, rules)) {
    out.job.width = size->width;
    out.job.height = size->height;
  }
}

void read_model(Fields& fields, const ServedModel& model) {
  const std::optional<std::string> name = fields.text("model");
  if (!name || *name == model.name) return;
  // Programs that know one name only go on working.
  for (const std::string_view alias : {"gpt-image-", "dall-e-", "chatgpt-image-", "glm-image"}) {
    if (name->starts_with(alias)) return;
  }
  throw Refusal(404, concat("there is no model '", *name, "' here; this server draws with ", model.name), "model",
                "model_not_found");
}

void read_sampling(Fields& fields, DrawRequest& out, const Services& services) {
  JobRequest& job = out.job;
  const DrawingRules& rules = services.rules;
  job.cache = rules.cache;
  // Seeds are a signed number to most JSON libraries.
  const std::optional<int64_t> seed = fields.integer("seed", 0, INT64_MAX - 16);
  job.seed = seed ? static_cast<uint64_t>(*seed) : random_seed() >> 31;
  job.steps = fields.integer("num_inference_steps", 1, rules.max_steps).value_or(job.steps);
  job.guidance_scale = fields.number("guidance_scale", 0, 100).value_or(rules.guidance_scale);
  job.temperature = fields.number("temperature", 0, 100);
  if (!job.temperature) job.temperature = rules.temperature;
  job.top_p = fields.number("top_p", 0, 1);
  if (!job.top_p) job.top_p = rules.top_p;
  if (job.top_p && *job.top_p <= 0) throw Refusal(400, "'top_p' must be above 0 and at most 1", "top_p");
  if (fields.text("negative_prompt", rules.prompt_characters).value_or("") != "") {
    throw Refusal(400, "'negative_prompt' is not something this model knows; say in the prompt what to draw",
                  "negative_prompt", "unsupported_parameter");
  }
  read_loras(fields, job, services.model);
}

[[noreturn]] void refuse_lora(const std::string& message) { throw Refusal(400, "'lora': " + message, "lora"); }

// "NAME", "NAME:SCALE" or {"name": "NAME", "scale": 0.5}. What is a name as it stands is taken as one, colons and all.
JobLora read_lora(const nlohmann::json& value, const std::vector<ListedLora>& listed) {
  const auto known = [&](const std::string& name) {
    return std::any_of(listed.begin(), listed.end(), [&](const ListedLora& each) { return each.name == name; });
  };
  JobLora out;
  if (value.is_object() && value.contains("name") && value["name"].is_string()) {
    for (const auto& [field, ignored] : value.items()) {
      if (field != "name" && field != "scale")
        refuse_lora(concat("an adapter has a name and a scale, no '", field, "'"));
    }
    out.name = value["name"].get<std::string>();
    if (value.contains("scale") && !value["scale"].is_number()) refuse_lora("'scale' should be a number");
    out.scale = value.value("scale", 1.0);
  } else if (value.is_string()) {
    out.name = value.get<std::string>();
    const size_t colon = out.name.rfind(':');
    if (!known(out.name) && colon != std::string::npos) {
      const std::string scale = out.name.substr(colon + 1);
      const auto [end, fault] = std::from_chars(scale.data(), scale.data() + scale.size(), out.scale);
      if (fault != std::errc() || end != scale.data() + scale.size()) refuse_lora(concat("'", scale, "' is no number"));
      out.name.resize(colon);
    }
  } else {
    refuse_lora("an adapter is its name, NAME:SCALE, or an object of both");
  }
  if (!known(out.name)) {
    std::vector<std::string> names;
    for (const ListedLora& each : listed) names.push_back(each.name);
    refuse_lora(concat("there is no adapter '", out.name, "' here; there ", names.size() == 1 ? "is " : "are ",
                       listed.empty() ? "none" : glmimage::listed(names)));
  }
  if (!(std::abs(out.scale) <= kLargestScale)) refuse_lora(concat("a scale is at most ", kLargestScale));
  return out;
}

void read_loras(Fields& fields, JobRequest& job, const ServedModel& model) {
  nlohmann::json value = fields.raw("lora");
  if (value.is_null()) return;
  if (value.is_string() && value.get_ref<const std::string&>().starts_with('[')) {  // a form has text alone
    const auto list = parse_shallow_json<nlohmann::json>(value.get_ref<const std::string&>());
    if (list.is_array()) value = list;
  }
  const std::vector<ListedLora> listed = model.loras->list();
  job.loras.emplace();
  if (!value.is_array()) {
    job.loras->push_back(read_lora(value, listed));
    return;
  }
  if (value.size() > kMostLoras) refuse_lora(concat("at most ", kMostLoras, " adapters work together"));
  for (const nlohmann::json& each : value) {
    const JobLora lora = read_lora(each, listed);
    for (const JobLora& before : *job.loras) {
      if (before.name == lora.name) refuse_lora(concat("the adapter '", lora.name, "' is named twice"));
    }
    job.loras->push_back(lora);
  }
}

// The same request has the same hash, however it was written down.
void seal(DrawRequest& out, const Fields& fields) {
  std::string text = out.kind + to_text(fields.object());
  for (const InputPicture& picture : out.pictures) text += sha256_hex(picture.bytes);
  out.body_hash = sha256_hex(text);
}

}  // namespace glmimage::serve
