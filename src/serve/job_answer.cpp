#include "serve/job_answer.h"

#include "serve/request_log.h"

namespace glmimage::serve {

JobAnswer::JobAnswer(Job job, Request request, Services& services, WhenAlone when_alone)
    : job_(std::move(job)), request_(std::move(request)), services_(services), when_alone_(when_alone) {
  request_.body.clear();  // it may be large, and the answer takes minutes
}

void JobAnswer::start(std::function<void()> wake) {
  watch_ = std::make_unique<JobWatch>(services_.jobs, services_.blobs, services_.hub, job_.id, services_.options.poll,
                                      std::move(wake));
}

LiveResponse::Step JobAnswer::poll() {
  Step step;
  try {
    follow(step);
  } catch (...) {
    const Refusal refusal = to_refusal(std::current_exception());
    if (refusal.status >= 500) services_.log.fault(request_, refusal.what());
    break_off(refusal, step);
  }
  step.again = services_.options.poll;
  return step;
}

void JobAnswer::follow(Step& step) {
  while (const std::optional<JobEvent> event = watch_->next(std::chrono::milliseconds(0))) {
    if (event->last()) break;
    if (event->kind == JobEvent::Kind::state) job_.state = event->state;
    show(*event, step);
  }
  if (watch_->finished()) {
    reload();
    return end(step);
  }
  const Phase phase = services_.phase;
  if (phase == Phase::serving) return;
  reload();
  if (phase == Phase::draining && job_.state != JobState::queued) return;  // it is finished before the server stops
  Refusal refusal(503, concat("the server stops; the job ", job_.id, " stays in its queue"));
  refusal.retry_after = 5;
  break_off(refusal, step);
}

void JobAnswer::reload() {
  std::optional<Job> now = services_.jobs.get(job_.id);
  if (!now) throw Refusal(404, concat("the job ", job_.id, " was removed"));
  job_ = std::move(*now);
}

void JobAnswer::client_left() {
  if (when_alone_ == WhenAlone::go_on) return;
  try {
    services_.jobs.cancel(job_.id);
  } catch (const Error& error) {
    services_.log.fault(request_, error.what());
  }
}

WhenAlone when_alone(const Request& request) {
  return request.header("idempotency-key").empty() ? WhenAlone::cancel : WhenAlone::go_on;
}

Refusal refusal_of(const Job& job) {
  if (job.state == JobState::cancelled) return {409, concat("the job ", job.id, " was cancelled"), "", "cancelled"};
  if (!job.error) return {500, concat("the job ", job.id, " failed")};
  const std::string& kind = job.error->kind;
  Refusal out(http_status(kind), job.error->message, "", kind == "usage" ? "" : kind);
  out.internal = kind != "usage" && kind != "out_of_memory" && kind != "poison";
  return out;
}

}  // namespace glmimage::serve
