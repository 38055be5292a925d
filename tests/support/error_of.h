#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace glmimage::test {

// The message of the Error that `call` throws, which must be of this kind.
template <typename Call>
std::string error_of(ErrorKind kind, const Call& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace glmimage::test
