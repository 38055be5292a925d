#pragma once

#include "core/current_error.h"
#include "core/error.h"

namespace glmimage::cli {

// The door of the command line: error kinds become exit codes here and nowhere else.
//   0 done; 2 bad usage or request; 3 bad or missing checkpoint; 4 device; 5 out of memory; 130 cancelled;
//   1 anything else (a disk that refuses, a fault of this program).
int exit_code(ErrorKind kind);

// Prints one sentence on stderr, or with `json` the same as JSON on both stdout and stderr, and returns the exit code.
int report(const Error& error, bool json);

}  // namespace glmimage::cli
