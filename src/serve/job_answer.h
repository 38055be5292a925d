#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "serve/http.h"
#include "serve/job_watch.h"
#include "serve/refusal.h"
#include "serve/services.h"

namespace glmimage::serve {

// What becomes of a job when the client that waits for it goes away.
enum class WhenAlone { cancel, go_on };

// An answer that follows a job to its end. Derived classes say what of it the client gets to see.
class JobAnswer : public LiveResponse {
 public:
  JobAnswer(Job job, Request request, Services& services, WhenAlone when_alone);
  void start(std::function<void()> wake) final;
  Step poll() final;
  void client_left() final;

 protected:
  // Adds to `step` what this event is to the client.
  virtual void show(const JobEvent& event, Step& step) = 0;
  // The job is at its end; `job()` is as the store has it now. Sets step.done.
  virtual void end(Step& step) = 0;
  // The answer breaks off: the server stops, or a fault. Sets step.done.
  virtual void break_off(const Refusal& refusal, Step& step) = 0;

  const Job& job() const { return job_; }
  const Request& request() const { return request_; }
  Services& services() const { return services_; }

 private:
  void follow(Step& step);
  void reload();
  Job job_;
  Request request_;
  Services& services_;
  WhenAlone when_alone_;
  std::unique_ptr<JobWatch> watch_;
};

// The refusal that a failed or cancelled job is to the client that waits for its pictures.
Refusal refusal_of(const Job& job);

// With an idempotency key a client can come back for its pictures.
WhenAlone when_alone(const Request& request);

}  // namespace glmimage::serve
