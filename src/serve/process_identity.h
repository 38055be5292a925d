#pragma once

#include <string>

namespace glmimage::serve {

// This process among all that share a database: machine, boot, process namespace, process id and its start.
std::string process_identity();

// True only when `identity` is of a process of this machine, boot and namespace that has ended.
bool process_is_gone(const std::string& identity);

}  // namespace glmimage::serve
