#include "serve/job_json.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

json seconds_json(const std::optional<Time>& time) {
  return time ? json(static_cast<double>(time->time_since_epoch().count()) / 1000) : json(nullptr);
}

template <typename Value>
json or_null(const std::optional<Value>& value) {
  return value ? json(*value) : json(nullptr);
}

json asked_json(const JobRequest& request) {
  return {{"prompt", request.prompt},
          {"references", request.references.size()},
          {"width", or_null(request.width)},
          {"height", or_null(request.height)},
          {"num_inference_steps", request.steps},
          {"guidance_scale", request.guidance_scale},
          {"seed", request.seed},
          {"temperature", or_null(request.temperature)},
          {"top_p", or_null(request.top_p)},
          {"lora", loras_json(request.loras)},
          {"n", request.count},
          {"output_format", request.format},
          {"output_compression", or_null(request.quality)}};
}

// "http://host:port", as the client knows us.
std::string base_url(const Request& request, const Services& services) {
  if (!services.options.public_url.empty()) return services.options.public_url;
  return concat(request.over_tls ? "https://" : "http://", request.header("host"));
}

}  // namespace

int64_t unix_seconds(Time time) { return time.time_since_epoch().count() / 1000; }

std::string picture_url(const Job& job, const JobPicture& picture, const Request& request, const Services& services) {
  const std::string ending = picture.mime == "image/jpeg" ? "jpg" : picture.mime == "image/webp" ? "webp" : "png";
  return concat(base_url(request, services), "/pictures/", job.id, "/", picture.index, ".", ending);
}

json picture_json(const Job& job, const JobPicture& picture, const Request& request, const Services& services) {
  return {{"index", picture.index},    {"url", picture_url(job, picture, request, services)},
          {"seed", picture.seed},      {"mime", picture.mime},
          {"width", picture.width},    {"height", picture.height},
          {"bytes", picture.bytes},    {"visual_tokens", picture.visual_tokens},
          {"seconds", picture.seconds}};
}

json progress_json(const JobProgress& progress) {
  return {{"index", progress.index},
          {"stage", stage_name(progress.stage)},
          {"done", progress.done},
          {"total", progress.total}};
}

json job_json(const Job& job, const Request& request, const Services& services) {
  json pictures = json::array();
  for (const JobPicture& picture : job.pictures) pictures.push_back(picture_json(job, picture, request, services));
  return {{"id", job.id},
          {"object", "job"},
          {"kind", job.kind},
          {"state", state_name(job.state)},
          {"created", seconds_json(job.created)},
          {"started", seconds_json(job.started)},
          {"finished", seconds_json(job.finished)},
          {"attempts", job.attempts},
          {"cancel_requested", job.cancel_requested},
          {"request", asked_json(job.request)},
          {"progress", job.progress ? progress_json(*job.progress) : json(nullptr)},
          {"pictures", pictures},
          {"error", job.error ? json{{"kind", job.error->kind}, {"message", job.error->message}} : json(nullptr)}};
}

}  // namespace glmimage::serve
