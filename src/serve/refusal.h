#pragma once

#include <cstdint>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "serve/http.h"

namespace glmimage::serve {

// An Error with what an HTTP answer says beside its message.
struct Refusal : Error {
  Refusal(int http_status, const std::string& message, std::string field = "", std::string reason = "")
      : Error(http_status < 500 ? ErrorKind::usage : ErrorKind::io, message),
        status(http_status),
        param(std::move(field)),
        code(std::move(reason)) {}
  int status;
  std::string param;        // the field that is to blame; empty: none
  std::string code;         // for programs: "invalid_value"; empty: the status' own
  int64_t retry_after = 0;  // seconds; 0: nothing is said
  // The message is about this program and its machine: it is for the log, and clients get another one.
  bool internal = false;
};

// The door of HTTP: error kinds become statuses here and nowhere else.
int http_status(ErrorKind kind);
// The same of a job's error, which names its kind ("usage", "out_of_memory", "poison").
int http_status(const std::string& kind);

// Whose clients read an answer.
enum class ApiFamily {
  openai,  // {"error":{"message","type","param","code"}}; also of our own routes
  zai,     // {"error":{"code","message"}}, codes as BigModel numbers them
};
ApiFamily family_of(const std::string& path);

// The refusal as its family's clients expect it.
Response to_response(const Refusal& refusal, ApiFamily family);

// Sorts any exception. What is no Refusal and not the client's fault is internal.
Refusal to_refusal(std::exception_ptr error);

// "invalid_request_error", "authentication_error", …: the error type OpenAI's clients know for a status.
const char* error_type(int status);

// Compact JSON; what is no UTF-8 is replaced.
std::string to_text(const nlohmann::json& value);

}  // namespace glmimage::serve
