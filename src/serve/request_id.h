#pragma once

#include <string>

namespace glmimage::serve {

// "req_" and 16 hexadecimal digits of chance.
std::string new_request_id();

}  // namespace glmimage::serve
