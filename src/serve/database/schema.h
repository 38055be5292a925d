#pragma once

#include <cstdint>

#include "serve/database/database.h"

namespace glmimage::serve {

int64_t schema_version();  // of this program

// Makes the tables, or brings those of an earlier version up to this one, in the caller's transaction. Throws
// ErrorKind::usage when they are of a later version.
void migrate(Connection& connection);

}  // namespace glmimage::serve
