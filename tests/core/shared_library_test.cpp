#include "core/shared_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "core/libcurl.h"
#include "support/error_of.h"

namespace glmimage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(SharedLibrary, FunctionsHaveTheTypeTheyAreKeptAs) {
  const SharedLibrary library("libz.so.1", "zlib1g");
  const decltype(&::crc32) checksum = library["crc32"];
  const Bytef text[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  EXPECT_EQ(checksum(0, text, sizeof text), 0xCBF43926U);  // the check value of this checksum
}

TEST(SharedLibrary, AMissingOneIsNamedWithItsPackage) {
  EXPECT_THAT(test::error_of(ErrorKind::io, [] { SharedLibrary("libnowhere.so.7", "libnowhere7"); }),
              AllOf(HasSubstr("libnowhere.so.7"), HasSubstr("package libnowhere7")));
}

TEST(SharedLibrary, AMissingFunctionIsNamed) {
  const SharedLibrary library("libz.so.1", "zlib1g");
  EXPECT_THAT(test::error_of(ErrorKind::io, [&] { library["no_such_function"]; }),
              AllOf(HasSubstr("libz.so.1"), HasSubstr("no_such_function")));
}

TEST(SharedLibrary, LibCurlIsWhole) { EXPECT_STREQ(libcurl().easy_strerror(CURLE_OK), "No error"); }

}  // namespace
}  // namespace glmimage
