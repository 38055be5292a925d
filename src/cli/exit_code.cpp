#include "cli/exit_code.h"

#include <c10/util/Exception.h>

#include <cstdio>
#include <exception>
#include <new>
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

const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return "usage";
    case ErrorKind::checkpoint: return "checkpoint";
    case ErrorKind::device: return "device";
    case ErrorKind::out_of_memory: return "out_of_memory";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::io: return "io";
    case ErrorKind::internal: return "internal";
  }
  return "internal";
}

namespace {

// LibTorch's CPU allocator has no exception type of its own.
bool says_out_of_memory(const std::string& message) {
  return message.find("can't allocate memory") != std::string::npos ||
         message.find("not enough memory") != std::string::npos || message.find("out of memory") != std::string::npos;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Error current_error() {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const c10::OutOfMemoryError& e) {
    return {ErrorKind::out_of_memory, "the device ran out of memory: " + first_line(e.what_without_backtrace())};
  } catch (const c10::Error& e) {
    const std::string message = first_line(e.what_without_backtrace());
    if (says_out_of_memory(message)) return {ErrorKind::out_of_memory, "out of memory: " + message};
    return {ErrorKind::internal, message};
  } catch (const std::bad_alloc&) {
    return {ErrorKind::out_of_memory, "out of memory; a smaller picture or --dtype bfloat16 needs less"};
  } catch (const std::exception& e) {
    return {ErrorKind::internal, e.what()};
  } catch (...) {
    return {ErrorKind::internal, "an unknown fault"};
  }
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
