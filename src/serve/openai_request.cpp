#include <cmath>

#include "serve/draw_fields.h"
#include "serve/multipart.h"
#include "text/utf8.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

// A form: its text fields, and its files of the field image, image[] or images.
Fields read_form(const Request& request, DrawRequest& out, const PictureLimits& limits) {
  json object = json::object();
  for (const FormPart& part : parse_form(request.body, request.header("content-type"))) {
    if (part.name == "mask") {
      throw Refusal(400, "'mask': this model edits whole pictures; say in the prompt what is to change", "mask",
                    "unsupported_parameter");
    }
    if (part.name == "image" || part.name.starts_with("image[")) {
      if (out.pictures.size() == limits.count) {
        throw Refusal(400, concat("at most ", limits.count, " pictures are taken"), "image", "too_many_images");
      }
      out.pictures.push_back(check_picture(std::string(part.content), "image", limits));
      continue;
    }
    if (find_invalid_utf8(part.name) != std::string::npos) throw Refusal(400, "a field's name is no valid UTF-8");
    if (object.contains(part.name)) throw Refusal(400, concat("'", part.name, "' is given twice"), part.name);
    if (find_invalid_utf8(part.content) != std::string::npos) {
      throw Refusal(400, concat("'", part.name, "' is no valid UTF-8"), part.name);
    }
    object[part.name] = std::string(part.content);
  }
  return {std::move(object), Fields::Origin::form};
}

// images: [{"image_url": "data:…"}, …]
void read_json_pictures(Fields& fields, DrawRequest& out, const PictureLimits& limits) {
  const json& images = fields.raw("images");
  if (images.is_null()) return;
  if (!images.is_array()) throw Refusal(400, "'images' should be a list", "images", "invalid_type");
  if (images.size() > limits.count) {
    throw Refusal(400, concat("'images' has ", images.size(), " pictures; at most ", limits.count, " are taken"),
                  "images", "too_many_images");
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const std::string name = concat("images[", i, "].image_url");
    const json* url = images[i].is_object() && images[i].contains("image_url") ? &images[i]["image_url"] : nullptr;
    if (!url || !url->is_string()) throw Refusal(400, concat("'", name, "' should be text"), name, "invalid_type");
    out.pictures.push_back(picture_from_url(url->get<std::string>(), name, limits));
  }
}

// Fewer steps where less quality is asked for; num_inference_steps says it exactly.
int64_t steps_of_quality(const std::string& quality, int64_t steps) {
  const double share = quality == "low" ? 0.4 : quality == "medium" ? 0.7 : 1.0;
  return std::max<int64_t>(1, std::llround(static_cast<double>(steps) * share));
}

void read_output(Fields& fields, DrawRequest& out) {
  out.job.count = fields.integer("n", 1, 10).value_or(1);
  out.job.format = fields.one_of("output_format", {"png", "jpeg", "webp"}).value_or("png");
  if (const auto compression = fields.integer("output_compression", 0, 100)) {
    out.job.quality = static_cast<int>(std::max<int64_t>(1, *compression));
  }
  if (fields.one_of("background", {"auto", "opaque", "transparent"}).value_or("auto") == "transparent") {
    throw Refusal(400, "'background': this model draws opaque pictures only", "background", "unsupported_parameter");
  }
  const std::string model = fields.text("model").value_or("");
  out.as_url =
      fields.one_of("response_format", {"url", "b64_json"}).value_or(model.starts_with("dall-e-") ? "url" : "") ==
      "url";
}

// Fields that change nothing here: taken for their clients' sake.
void read_ignored(Fields& fields) {
  fields.one_of("moderation", {"auto", "low"});
  fields.one_of("style", {"vivid", "natural"});
  fields.one_of("input_fidelity", {"low", "high"});
  fields.text("user", 512);
  fields.text("safety_identifier", 512);
}

void read_stream(Fields& fields, DrawRequest& out, DrawRoute route) {
  out.job.partial_images = fields.integer("partial_images", 0, 3).value_or(0);
  if (route == DrawRoute::jobs) return;  // a job has a stream of its own
  out.stream = fields.boolean("stream").value_or(false);
  if (!out.stream && out.job.partial_images > 0) {
    throw Refusal(400, "'partial_images' needs 'stream': true", "partial_images");
  }
  // A client that asked for no partial pictures counts on a single event.
  out.tell_progress = fields.boolean("progress").value_or(out.job.partial_images > 0);
}

}  // namespace

DrawRequest parse_openai_request(const Request& request, DrawRoute route, const Services& services) {
  DrawRequest out;
  const PictureLimits& limits = services.rules.pictures;
  const bool form = route != DrawRoute::generations && is_form(request.header("content-type"));
  Fields fields = form ? read_form(request, out, limits) : Fields::parse(request.body);
  if (route != DrawRoute::generations) read_json_pictures(fields, out, limits);
  if (route == DrawRoute::edits && out.pictures.empty()) {
    throw Refusal(400, "'image' is missing: an edit needs a picture", "image", "missing_required_parameter");
  }
  out.kind = out.pictures.empty() ? "generation" : "edit";
  read_model(fields, services.model);
  read_prompt(fields, out, services.rules);
  read_size(fields, out, services.rules);
  const std::string quality =
      fields.one_of("quality", {"auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"}).value_or("auto");
  out.job.steps = steps_of_quality(quality, services.rules.steps);
  read_sampling(fields, out, services);
  read_output(fields, out);
  read_stream(fields, out, route);
  read_ignored(fields);
  fields.refuse_unknown();
  const bool lower = quality == "low" || quality == "medium";
  out.job.extra = {{"quality", lower ? quality : "high"}, {"as_url", out.as_url}};
  seal(out, fields);
  return out;
}

}  // namespace glmimage::serve
