#pragma once

#include "serve/router.h"
#include "serve/services.h"

namespace glmimage::serve {

// All routes behind their doors: what the server serves.
class Api : public Application {
 public:
  explicit Api(Services& services);  // outlives it
  std::variant<uint64_t, Response> admit(Request& request) override;
  Answer handle(Request& request) override;
  Response refuse(const Request& request, int status, const std::string& message) override;
  void finished(const Request& request, int status, double seconds, uint64_t bytes_sent) override;

 private:
  Response answer_to(std::exception_ptr error, const Request& request);
  Services& services_;
  Router router_;
};

}  // namespace glmimage::serve
