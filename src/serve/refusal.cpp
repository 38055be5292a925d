#include "serve/refusal.h"

#include "core/current_error.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

const char* default_code(int status) {
  switch (status) {
    case 401: return "invalid_api_key";
    case 403: return "forbidden";
    case 404: return "not_found";
    case 405: return "method_not_allowed";
    case 408: return "request_timeout";
    case 409: return "conflict";
    case 413: return "request_too_large";
    case 429: return "rate_limit_exceeded";
    case 503: return "overloaded";
    default: return status >= 500 ? "server_error" : "invalid_value";
  }
}

// docs.bigmodel.cn, "error codes".
const char* zai_code(const Refusal& refusal) {
  if (refusal.code == "model_not_found") return "1211";
  if (refusal.code == "missing_required_parameter") return "1213";
  switch (refusal.status) {
    case 401: return "1000";
    case 429: return "1302";
    default: return refusal.status >= 500 ? "500" : refusal.param.empty() ? "1210" : "1214";
  }
}

}  // namespace

int http_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return 400;
    case ErrorKind::cancelled: return 409;
    case ErrorKind::out_of_memory:
    case ErrorKind::io: return 503;
    case ErrorKind::checkpoint:
    case ErrorKind::device:
    case ErrorKind::internal: return 500;
  }
  return 500;
}

int http_status(const std::string& kind) {
  if (kind == "usage") return http_status(ErrorKind::usage);
  if (kind == "out_of_memory") return http_status(ErrorKind::out_of_memory);
  return 500;
}

ApiFamily family_of(const std::string& path) {
  return path.starts_with("/api/paas/") ? ApiFamily::zai : ApiFamily::openai;
}

const char* error_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string to_text(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

Response to_response(const Refusal& refusal, ApiFamily family) {
  Response out;
  out.status = refusal.status;
  if (refusal.retry_after > 0) out.headers.emplace_back("Retry-After", std::to_string(refusal.retry_after));
  if (refusal.status == 401) out.headers.emplace_back("WWW-Authenticate", "Bearer");
  // OpenAI's clients try again after a 409, which would not change what is in the way.
  if (refusal.status == 409) out.headers.emplace_back("X-Should-Retry", "false");
  json error = {{"message", refusal.internal ? "the server failed; its log tells more" : refusal.what()}};
  if (family == ApiFamily::zai) {
    error["code"] = zai_code(refusal);
  } else {
    error["type"] = error_type(refusal.status);
    error["param"] = refusal.param.empty() ? json(nullptr) : json(refusal.param);
    error["code"] = refusal.code.empty() ? default_code(refusal.status) : refusal.code;
  }
  out.body = to_text({{"error", error}});
  return out;
}

Refusal to_refusal(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Refusal& refusal) {
    return refusal;
  } catch (...) {
    const Error sorted = current_error();
    Refusal out(http_status(sorted.kind()), sorted.what());
    out.internal = out.status >= 500;
    return out;
  }
}

}  // namespace glmimage::serve
