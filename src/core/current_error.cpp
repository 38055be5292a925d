#include "core/current_error.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

namespace glmimage {

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

}  // namespace glmimage
