#include "cli/exit_code.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace glmimage::cli {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return 2;
    case ErrorKind::checkpoint: return 3;
    case ErrorKind::device: return 4;
    case ErrorKind::out_of_memory: return 5;
    case ErrorKind::cancelled: return 130;
    case ErrorKind::io:
    case ErrorKind::internal: return 1;
  }
  return 1;
}

int report(const Error& error, bool json) {
  const int code = exit_code(error.kind());
  if (json) {
    const nlohmann::json value = {
        {"error", {{"kind", kind_name(error.kind())}, {"message", error.what()}, {"exit_code", code}}}};
    const std::string line = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    std::fputs(line.c_str(), stdout);
    std::fputs(line.c_str(), stderr);
  } else {
    std::fprintf(stderr, "glm-image: %s\n", error.what());
  }
  return code;
}

}  // namespace glmimage::cli
