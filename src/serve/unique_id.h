#pragma once

#include <cstddef>
#include <string>

namespace glmimage::serve {

// A UUID of version 7 (RFC 9562): milliseconds since 1970, a counter of this process and 62 random bits, so that
// ids sort in the order they were made.
std::string unique_id();

// Random bytes of the operating system's quality, as letters and digits (base 62). Throws ErrorKind::internal.
std::string random_text(size_t bytes);

}  // namespace glmimage::serve
