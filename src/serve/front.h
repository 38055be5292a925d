#pragma once

#include <optional>

#include "serve/api.h"
#include "serve/server.h"

namespace glmimage::serve {

// An application that is not there yet: a server is bound before what it serves is opened, so that an address in use is
// told at once. Connections wait until open().
class Front : public Application {
 public:
  void open(Services& services) { api_.emplace(services); }
  std::variant<uint64_t, Response> admit(Request& request) override { return api_->admit(request); }
  Answer handle(Request& request) override { return api_->handle(request); }
  Response refuse(const Request& request, int status, const std::string& message) override {
    return api_->refuse(request, status, message);
  }
  void finished(const Request& request, int status, double seconds, uint64_t bytes) override {
    api_->finished(request, status, seconds, bytes);
  }

 private:
  std::optional<Api> api_;
};

}  // namespace glmimage::serve
