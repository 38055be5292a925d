#include "core/listing.h"

#include <gtest/gtest.h>

namespace glmimage {
namespace {

TEST(Listed, ShowsTheFirstFew) {
  EXPECT_EQ(listed({}), "");
  EXPECT_EQ(listed({"a"}), "a");
  EXPECT_EQ(listed({"a", "b"}, 2), "a, b");
  EXPECT_EQ(listed({"a", "b", "c"}, 2), "a, b, …");
}

}  // namespace
}  // namespace glmimage
