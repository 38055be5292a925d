#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace glmimage {

// What went wrong, in the terms a caller can act on. The two doors (cli, serve) map kinds to exit codes and HTTP
// statuses.
enum class ErrorKind {
  usage,          // a bad request: options, sizes, prompt, an input picture
  checkpoint,     // a missing, broken or unknown checkpoint
  device,         // a device or its library cannot be used
  out_of_memory,  // the host or the device ran out of memory
  cancelled,      // the user asked to stop
  io,             // reading or writing failed: permissions, disk full
  internal,       // a fault of this program
};

// The one exception type. The message is one sentence: what was expected, what came, the likely cause.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Joins its arguments as text: concat("layer ", 3, ": ", name).
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Throws Error with the joined parts as its message.
template <typename... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
  throw Error(kind, concat(parts...));
}

}  // namespace glmimage
