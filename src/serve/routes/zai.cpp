#include "serve/draw_request.h"
#include "serve/job_answer.h"
#include "serve/job_json.h"
#include "serve/routes/routes.h"
#include "serve/submit.h"

// Z.ai's (BigModel's) images API: https://docs.z.ai/api-reference/image/generate-image
namespace glmimage::serve {
namespace {

using nlohmann::json;

json urls_json(const Job& job, const Request& request, const Services& services) {
  json out = json::array();
  for (const JobPicture& picture : job.pictures) out.push_back({{"url", picture_url(job, picture, request, services)}});
  return out;
}

class ZaiAnswer : public JobAnswer {
 public:
  using JobAnswer::JobAnswer;

 protected:
  void show(const JobEvent&, Step&) override {}

  void break_off(const Refusal& refusal, Step& step) override {
    step.head = to_response(refusal, ApiFamily::zai);
    step.done = true;
  }

  void end(Step& step) override {
    if (job().state != JobState::done) return break_off(refusal_of(job()), step);
    Response out;
    // No filter judges prompts or pictures here, so there is nothing to report.
    out.body = to_text({{"created", unix_seconds(job().finished.value_or(job().created))},
                        {"id", job().id},
                        {"request_id", job().request.extra.value("request_id", "")},
                        {"data", urls_json(job(), request(), services())},
                        {"content_filter", json::array()}});
    step.head = std::move(out);
    step.done = true;
  }
};

const char* task_status(JobState state) {
  if (!is_final(state)) return "PROCESSING";
  return state == JobState::done ? "SUCCESS" : "FAIL";
}

json task_json(const Job& job, const Services& services) {
  return {{"model", services.model.name},
          {"id", job.id},
          {"request_id", job.request.extra.value("request_id", "")},
          {"task_status", task_status(job.state)}};
}

Answer begin_task(Request& request, Services& services) {
  const Job job = submit(parse_zai_request(request, services), request, services);
  Response out;
  out.body = to_text(task_json(job, services));
  return out;
}

Answer task_result(const Request& request, const Services& services) {
  const std::string& id = request.path_parts.at("id");
  const auto owner = services.options.need_keys ? std::optional(request.owner) : std::nullopt;
  const std::optional<Job> job = services.jobs.get(id, owner);
  if (!job) throw Refusal(404, concat("there is no task ", id.substr(0, 64)), "id");
  json value = task_json(*job, services);
  if (job->state == JobState::done) {
    value["created"] = unix_seconds(job->finished.value_or(job->created));
    value["image_result"] = urls_json(*job, request, services);
  } else if (is_final(job->state)) {
    const Refusal refusal = refusal_of(*job);
    value["error"] = json::parse(to_response(refusal, ApiFamily::zai).body)["error"];
  }
  Response out;
  out.body = to_text(value);
  return out;
}

}  // namespace

void add_zai_routes(Router& router, Services& services) {
  router.add(
      {"POST", "/api/paas/v4/images/generations", Door::key, kSmallBody, [&services](Request& request) -> Answer {
         Job job = submit(parse_zai_request(request, services), request, services);
         const WhenAlone alone = when_alone(request);
         return std::make_unique<ZaiAnswer>(std::move(job), request, services, alone);
       }});
  router.add({"POST", "/api/paas/v4/async/images/generations", Door::key, kSmallBody,
              [&services](Request& request) { return begin_task(request, services); }});
  router.add({"GET", "/api/paas/v4/async-result/{id}", Door::key, 0,
              [&services](Request& request) { return task_result(request, services); }});
}

}  // namespace glmimage::serve
