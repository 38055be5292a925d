#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace glmimage {

// Text out of a file, fit for a terminal and for a message: valid UTF-8 on one line, control characters written as
// \n, \t or \u001b, cut behind `most` bytes with "…" where it is longer.
std::string terminal_text(std::string_view text, size_t most = 300);

}  // namespace glmimage
