#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace glmimage::eval {

struct ChildResult {
  int exit_code = -1;  // -1 when a signal ended it
  std::string out;     // standard output
};

// Runs a program found on the PATH, feeds it `input` and waits. Its standard error is thrown away. Nothing when there
// is no such program. While it runs `cancelled` is asked every few milliseconds: the child is then killed and
// ErrorKind::cancelled thrown. Throws ErrorKind::io when the system refuses or the child takes more than a minute.
std::optional<ChildResult> run_child(const std::vector<std::string>& arguments, std::span<const uint8_t> input = {},
                                     const std::function<bool()>& cancelled = {});

}  // namespace glmimage::eval
