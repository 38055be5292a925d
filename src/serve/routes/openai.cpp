#include <ctime>
#include <span>

#include "core/encode_image.h"
#include "serve/base64.h"
#include "serve/draw_request.h"
#include "serve/events.h"
#include "serve/job_answer.h"
#include "serve/job_json.h"
#include "serve/routes/routes.h"
#include "serve/submit.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

int64_t extra_integer(const Job& job, const char* name) { return job.request.extra.value(name, int64_t{0}); }

json usage_json(const Job& job) {
  const int64_t text = extra_integer(job, "text_tokens"), pictures = extra_integer(job, "image_tokens");
  int64_t output = 0;
  for (const JobPicture& picture : job.pictures) output += picture.visual_tokens;
  return {{"input_tokens", text + pictures},
          {"input_tokens_details", {{"text_tokens", text}, {"image_tokens", pictures}}},
          {"output_tokens", output},
          {"output_tokens_details", {{"text_tokens", 0}, {"image_tokens", output}}},
          {"total_tokens", text + pictures + output}};
}

std::string size_text(const JobPicture& picture) { return concat(picture.width, "x", picture.height); }

std::string fetch_blob(const Services& services, const std::string& hash) {
  std::optional<std::string> bytes = services.blobs.get(hash);
  if (!bytes) fail(ErrorKind::io, "the picture ", hash, " is no longer stored");
  return std::move(*bytes);
}

// Waits for the pictures and answers with all of them.
class ImagesAnswer : public JobAnswer {
 public:
  using JobAnswer::JobAnswer;

 protected:
  void show(const JobEvent&, Step&) override {}

  void break_off(const Refusal& refusal, Step& step) override {
    step.head = to_response(refusal, ApiFamily::openai);
    step.done = true;
  }

  void end(Step& step) override {
    if (job().state != JobState::done) return break_off(refusal_of(job()), step);
    json data = json::array();
    for (const JobPicture& picture : job().pictures) data.push_back(item(picture));
    Response out;
    out.headers.emplace_back("X-Job-Id", job().id);
    out.body = to_text({{"created", unix_seconds(job().finished.value_or(job().created))},
                        {"background", "opaque"},
                        {"data", data},
                        {"output_format", job().request.format},
                        {"quality", job().request.extra.value("quality", "high")},
                        {"size", size_text(job().pictures.front())},
                        {"usage", usage_json(job())}});
    step.head = std::move(out);
    step.done = true;
  }

 private:
  json item(const JobPicture& picture) const {
    if (job().request.extra.value("as_url", false))
      return {{"url", picture_url(job(), picture, request(), services())}};
    return {{"b64_json", encode_base64(fetch_blob(services(), picture.blob))}};
  }
};

// Tells of the pictures while they are drawn.
class ImagesStream : public JobAnswer {
 public:
  ImagesStream(Job job, const DrawRequest& asked, const Request& request, Services& services)
      : JobAnswer(std::move(job), request, services, when_alone(request)),
        family_(asked.kind == "edit" ? "image_edit" : "image_generation"),
        tell_progress_(asked.tell_progress) {}

 protected:
  void show(const JobEvent& event, Step& step) override {
    begin(step);
    switch (event.kind) {
      case JobEvent::Kind::state: break;
      case JobEvent::Kind::progress:
        if (tell_progress_) say("progress", progress_json(event.progress), step);
        break;
      case JobEvent::Kind::partial: show_partial(event, step); break;
      case JobEvent::Kind::picture: show_picture(event.picture, step); break;
    }
  }

  void end(Step& step) override {
    if (job().state != JobState::done) return break_off(refusal_of(job()), step);
    begin(step);
    step.done = true;
  }

  void break_off(const Refusal& refusal, Step& step) override {
    step.done = true;
    const Response response = to_response(refusal, ApiFamily::openai);
    if (began_) {
      step.bytes += sse_event("error", json::parse(response.body));
    } else {
      step.head = response;
    }
  }

 private:
  // The status is sent with the first event, so that a refusal before it still has its own.
  void begin(Step& step) {
    if (began_) return;
    began_ = true;
    step.head = sse_head();
    step.head->headers.emplace_back("X-Job-Id", job().id);
  }

  void say(const char* what, json data, Step& step) {
    const std::string type = family_ + "." + what;
    data["type"] = type;
    data["created_at"] = std::time(nullptr);
    step.bytes += sse_event(type, data);
  }

  json described(const std::string& bytes, const std::string& size) const {
    return {{"b64_json", encode_base64(bytes)},
            {"size", size},
            {"quality", job().request.extra.value("quality", "high")},
            {"background", "opaque"},
            {"output_format", job().request.format}};
  }

  // Estimates are kept as PNG; the client saves them under the ending it asked for.
  void show_partial(const JobEvent& event, Step& step) {
    if (!event.bytes) return;
    const JobRequest& asked = job().request;
    const std::span png(reinterpret_cast<const uint8_t*>(event.bytes->data()), event.bytes->size());
    const PictureSize size = picture_size(png, "a partial picture");
    std::string bytes = *event.bytes;
    if (asked.format != "png") {
      const std::vector<uint8_t> encoded = encode_image(
          decode_image(png, "a partial picture"),
          {.format = parse_picture_format(asked.format), .quality = asked.quality.value_or(kDefaultQuality)});
      bytes.assign(encoded.begin(), encoded.end());
    }
    json data = described(bytes, concat(size.width, "x", size.height));
    data["partial_image_index"] = event.partial.number;
    say("partial_image", std::move(data), step);
  }

  void show_picture(const JobPicture& picture, Step& step) {
    json data = described(fetch_blob(services(), picture.blob), size_text(picture));
    Job so_far = job();
    so_far.pictures = {picture};
    data["usage"] = usage_json(so_far);
    say("completed", std::move(data), step);
  }

  std::string family_;
  bool tell_progress_;
  bool began_ = false;
};

Answer draw(Request& request, DrawRoute route, Services& services) {
  DrawRequest asked = parse_openai_request(request, route, services);
  Job job = submit(asked, request, services);
  if (asked.stream) return std::make_unique<ImagesStream>(std::move(job), asked, request, services);
  const WhenAlone alone = when_alone(request);
  return std::make_unique<ImagesAnswer>(std::move(job), request, services, alone);
}

// What a request gets that asks for nothing else, and how far it may go: for pages and programs with controls.
json drawing_json(const Services& services) {
  const DrawingRules& rules = services.rules;
  const int64_t side = services.model.default_size;
  return {{"size", concat(side, "x", side)},
          {"num_inference_steps", rules.steps},
          {"guidance_scale", rules.guidance_scale},
          {"temperature", rules.temperature ? json(*rules.temperature) : json(nullptr)},
          {"top_p", rules.top_p ? json(*rules.top_p) : json(nullptr)},
          {"max_steps", rules.max_steps},
          {"max_pixels", rules.max_pixels},
          {"max_prompt_characters", rules.prompt_characters},
          {"max_pictures", rules.pictures.count},
          {"max_picture_bytes", rules.pictures.bytes},
          {"max_body_bytes", services.options.max_body}};
}

json model_json(const Services& services) {
  const ServedModel& model = services.model;
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "zai-org"},
          {"drawing", drawing_json(services)}};
}

Answer one_model(const Request& request, const Services& services) {
  const std::string& name = request.path_parts.at("model");
  if (name != services.model.name) {
    throw Refusal(404, concat("there is no model '", name, "' here"), "model", "model_not_found");
  }
  Response out;
  out.body = to_text(model_json(services));
  return out;
}

}  // namespace

void add_openai_routes(Router& router, Services& services) {
  router.add({"POST", "/v1/images/generations", Door::key, kSmallBody,
              [&services](Request& request) { return draw(request, DrawRoute::generations, services); }});
  router.add({"POST", "/v1/images/edits", Door::key, services.options.max_body,
              [&services](Request& request) { return draw(request, DrawRoute::edits, services); }});
  router.add({"GET", "/v1/models", Door::key, 0, [&services](Request&) -> Answer {
                Response out;
                out.body = to_text({{"object", "list"}, {"data", json::array({model_json(services)})}});
                return out;
              }});
  router.add(
      {"GET", "/v1/loras", Door::key, 0, [&services](Request&) -> Answer {
         json data = json::array();
         for (const ListedLora& each : services.model.loras->list()) {
           data.push_back({{"id", each.name}, {"object", "lora"}, {"created", each.modified}, {"bytes", each.bytes}});
         }
         Response out;
         out.body = to_text({{"object", "list"}, {"data", data}});
         return out;
       }});
  router.add({"GET", "/v1/models/{model}", Door::key, 0,
              [&services](Request& request) { return one_model(request, services); }});
}

}  // namespace glmimage::serve
