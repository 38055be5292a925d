#include <charconv>

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

Response json_response(int status, const json& value) {
  Response out;
  out.status = status;
  out.body = to_text(value);
  return out;
}

constexpr const char* kEnd = "end";  // id of a job's last event

// Where keys are asked for, everybody sees their own jobs; where not, the one user sees all.
std::optional<std::string> owner_of(const Request& request, const Services& services) {
  return services.options.need_keys ? std::optional(request.owner) : std::nullopt;
}

Refusal no_such_job(const std::string& id) { return {404, concat("there is no job ", id.substr(0, 64)), "id"}; }

Job find_job(const Request& request, const Services& services) {
  const std::string& id = request.path_parts.at("id");
  std::optional<Job> job = services.jobs.get(id, owner_of(request, services));
  if (!job) throw no_such_job(id);
  return std::move(*job);
}

int64_t limit_of(const std::string& text) {
  int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || value < 1 || value > 100) {
    throw Refusal(400, "'limit' should be 1 to 100", "limit");
  }
  return value;
}

Answer list(const Request& request, const Services& services) {
  JobFilter filter{.owner = owner_of(request, services), .state = {}, .search = {}, .before = {}};
  for (const auto& [name, value] : request.query) {
    if (name == "limit") {
      filter.limit = limit_of(value);
    } else if (name == "search") {
      filter.search = value;
    } else if (name == "before") {
      filter.before = value;
    } else if (name == "state") {
      filter.state = parse_state(value);
      if (!filter.state) throw Refusal(400, concat("'state': no job is '", value.substr(0, 40), "'"), "state");
    } else {
      throw Refusal(400, concat("this list has no parameter '", name.substr(0, 40), "'"), name.substr(0, 40));
    }
  }
  const JobPage page = services.jobs.list(filter);
  json jobs = json::array();
  for (const Job& job : page.jobs) jobs.push_back(job_json(job, request, services));
  return json_response(200, {{"object", "list"},
                             {"data", jobs},
                             {"has_more", page.next.has_value()},
                             {"next", page.next ? json(*page.next) : json(nullptr)}});
}

// One job, with its place in the queue. A list does not tell places, which are counted one by one.
Answer one_job(const Request& request, const Services& services) {
  const Job job = find_job(request, services);
  json out = job_json(job, request, services);
  out["queue_place"] = job.state == JobState::queued ? json(services.jobs.queue_place(job)) : json(nullptr);
  return json_response(200, out);
}

const char* mime_of(std::string_view picture) {
  return picture.starts_with("\x89PNG") ? "image/png" : picture.starts_with("RIFF") ? "image/webp" : "image/jpeg";
}

// A picture the job edits, as it came: for who wants to draw it again.
Answer reference(const Request& request, const Services& services) {
  const Job job = find_job(request, services);
  const std::string& text = request.path_parts.at("index");
  size_t index = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), index);
  const bool whole = fault == std::errc() && end == text.data() + text.size();
  if (!whole || index >= job.request.references.size()) throw Refusal(404, "this job edits no such picture", "index");
  std::optional<std::string> bytes = services.blobs.get(job.request.references[index]);
  if (!bytes) throw Refusal(404, "this picture is no longer stored", "index");
  Response out;
  out.content_type = mime_of(*bytes);  // it was checked to be one of the three when the job was accepted
  out.headers = {{"Cache-Control", "private, max-age=3600"}};
  out.body = std::move(*bytes);
  return out;
}

// The fields of the images API; with pictures it is an edit. Answers at once.
Answer create(Request& request, Services& services) {
  const Job job = submit(parse_openai_request(request, DrawRoute::jobs, services), request, services);
  Response out = json_response(202, job_json(job, request, services));
  out.headers.emplace_back("Location", "/v1/jobs/" + job.id);
  return out;
}

Answer cancel(const Request& request, const Services& services) {
  const std::string& id = request.path_parts.at("id");
  if (services.jobs.cancel(id, owner_of(request, services)) == Cancelled::unknown_job) throw no_such_job(id);
  return json_response(200, job_json(find_job(request, services), request, services));
}

// A job that waits or runs is cancelled and stays to be seen; one at its end goes, with its pictures.
Answer remove(const Request& request, const Services& services) {
  const Job job = find_job(request, services);
  if (!is_final(job.state)) return cancel(request, services);
  services.jobs.remove(job.id, owner_of(request, services));
  Response out;
  out.status = 204;
  out.content_type = "";
  return out;
}

// Events of one job. An event's id says what was told before: "<pictures>.<picture>.<partial pictures of it>", so that
// a client that lost its connection is not sent it again.
class EventsAnswer : public JobAnswer {
 public:
  EventsAnswer(Job job, const Request& request, Services& services)
      : JobAnswer(std::move(job), request, services, WhenAlone::go_on) {
    std::sscanf(request.header("last-event-id").c_str(), "%lld.%lld.%lld", &known_.pictures, &known_.index,
                &known_.partials);
    told_ = known_;
  }

 protected:
  void show(const JobEvent& event, Step& step) override {
    begin(step);
    switch (event.kind) {
      case JobEvent::Kind::progress: return say("progress", progress_json(event.progress), step);
      case JobEvent::Kind::state: return say("state", {{"state", state_name(event.state)}}, step);
      case JobEvent::Kind::partial: return show_partial(event, step);
      case JobEvent::Kind::picture: break;
    }
    if (event.picture.index < known_.pictures) return;
    told_ = {event.picture.index + 1, 0, 0};
    say("picture", picture_json(job(), event.picture, request(), services()), step);
  }

  void end(Step& step) override {
    begin(step);
    step.bytes +=
        sse_event("state", {{"state", state_name(job().state)}, {"job", job_json(job(), request(), services())}}, kEnd);
    step.done = true;
  }

  void break_off(const Refusal& refusal, Step& step) override {
    begin(step);
    step.bytes += sse_event("error", json::parse(to_response(refusal, ApiFamily::openai).body));
    step.done = true;
  }

 private:
  struct Told {
    long long pictures = 0, index = 0, partials = 0;
  };

  void begin(Step& step) {
    if (!began_) step.head = sse_head();
    began_ = true;
  }

  void say(const std::string& name, const json& data, Step& step) {
    step.bytes += sse_event(name, data, concat(told_.pictures, ".", told_.index, ".", told_.partials));
  }

  void show_partial(const JobEvent& event, Step& step) {
    const PartialPicture& partial = event.partial;
    const bool known =
        partial.index < known_.pictures || (partial.index == known_.index && partial.number < known_.partials);
    if (known || !event.bytes) return;
    told_.index = partial.index;
    told_.partials = partial.number + 1;
    say("partial", {{"index", partial.index}, {"number", partial.number}, {"b64_json", encode_base64(*event.bytes)}},
        step);
  }

  Told known_, told_;
  bool began_ = false;
};

Answer events(const Request& request, Services& services) {
  Job job = find_job(request, services);
  if (request.header("last-event-id") == kEnd) {  // 204 tells a browser not to come back
    Response out;
    out.status = 204;
    out.content_type = "";
    return out;
  }
  return std::make_unique<EventsAnswer>(std::move(job), request, services);
}

}  // namespace

void add_job_routes(Router& router, Services& services) {
  const auto add = [&](const char* method, const char* pattern, uint64_t bytes, auto handler) {
    router.add({method, pattern, Door::key, bytes,
                [&services, handler](Request& request) -> Answer { return handler(request, services); }});
  };
  add("GET", "/v1/jobs", 0, list);
  add("POST", "/v1/jobs", services.options.max_body, create);
  add("GET", "/v1/jobs/{id}", 0, one_job);
  add("GET", "/v1/jobs/{id}/references/{index}", 0, reference);
  add("DELETE", "/v1/jobs/{id}", 0, remove);
  add("POST", "/v1/jobs/{id}/cancel", kSmallBody, cancel);
  add("GET", "/v1/jobs/{id}/events", 0, events);
}

}  // namespace glmimage::serve
