#pragma once

#include "core/error.h"

namespace glmimage {

// The kind's name in JSON ("usage", "checkpoint", …).
const char* kind_name(ErrorKind kind);

// Turns the exception being handled into an Error: LibTorch's and the standard library's are sorted into kinds.
Error current_error();

}  // namespace glmimage
