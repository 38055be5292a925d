#include "serve/api.h"

#include "serve/doors.h"
#include "serve/metrics.h"
#include "serve/refusal.h"
#include "serve/request_log.h"
#include "serve/routes/routes.h"

namespace glmimage::serve {
namespace {

// Headers of a live answer are known when its head is.
class WithHeaders : public LiveResponse {
 public:
  WithHeaders(std::unique_ptr<LiveResponse> inner, Request request, const ServiceOptions& options)
      : inner_(std::move(inner)), request_(std::move(request)), options_(options) {}
  void start(std::function<void()> wake) override { inner_->start(std::move(wake)); }
  Step poll() override {
    Step step = inner_->poll();
    if (step.head) add_common_headers(*step.head, request_, options_);
    return step;
  }
  void client_left() override { inner_->client_left(); }

 private:
  std::unique_ptr<LiveResponse> inner_;
  Request request_;
  const ServiceOptions& options_;
};

}  // namespace

Api::Api(Services& services) : services_(services) {
  add_openai_routes(router_, services);
  add_job_routes(router_, services);
  add_zai_routes(router_, services);
  add_picture_routes(router_, services);
  add_health_routes(router_, services);
  add_web_routes(router_);
}

std::variant<uint64_t, Response> Api::admit(Request& request) {
  try {
    check_browser(request, services_.options);
    if (request.method == "OPTIONS") {
      const std::string methods = router_.methods(request.path);
      if (methods.empty()) router_.find(request);  // throws 404
      Response out = preflight(request, methods, services_.options);
      add_common_headers(out, request, services_.options);
      return out;
    }
    const Route& route = router_.find(request);
    check_key(request, route, services_);
    return route.most_bytes;
  } catch (...) {
    return answer_to(std::current_exception(), request);
  }
}

Answer Api::handle(Request& request) {
  try {
    const Route& route = router_.find(request);
    Answer answer = route.handler(request);
    if (Response* response = std::get_if<Response>(&answer)) {
      add_common_headers(*response, request, services_.options);
      return answer;
    }
    request.body.clear();
    request.body.shrink_to_fit();
    return std::make_unique<WithHeaders>(std::move(std::get<std::unique_ptr<LiveResponse>>(answer)), request,
                                         services_.options);
  } catch (...) {
    return answer_to(std::current_exception(), request);
  }
}

Response Api::answer_to(std::exception_ptr error, const Request& request) {
  const Refusal refusal = to_refusal(error);
  if (refusal.status >= 500) services_.log.fault(request, refusal.what());
  Response out = to_response(refusal, family_of(request.path));
  if (refusal.status == 405) out.headers.emplace_back("Allow", router_.methods(request.path));
  add_common_headers(out, request, services_.options);
  return out;
}

Response Api::refuse(const Request& request, int status, const std::string& message) {
  Response out = to_response(Refusal(status, message), family_of(request.path));
  add_common_headers(out, request, services_.options);
  return out;
}

void Api::finished(const Request& request, int status, double seconds, uint64_t bytes_sent) {
  services_.metrics.answered(request, status, seconds, bytes_sent);
  services_.log.answered(request, status, seconds, bytes_sent);
}

}  // namespace glmimage::serve
