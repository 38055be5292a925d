#include "text/edit_distance.h"

#include <gtest/gtest.h>

namespace glmimage {
namespace {

TEST(EditDistance, CountsChanges) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("HELLO", "HELLO"), 0);
  EXPECT_EQ(edit_distance("HELLO", ""), 5);
  EXPECT_EQ(edit_distance("", "HI"), 2);
  EXPECT_EQ(edit_distance("HELLO", "HELL"), 1);
  EXPECT_EQ(edit_distance("HELLO", "YELLOW"), 2);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("ab", "ba"), 2);
}

TEST(EditDistance, CountsCharactersNotBytes) {
  EXPECT_EQ(edit_distance("智谱", "智"), 1);
  EXPECT_EQ(edit_distance("日本", "日木"), 1);
  EXPECT_EQ(edit_distance("\xFF", "A"), 1);  // broken UTF-8 is one unknown character
}

TEST(EditDistance, IsNormalisedByTheLonger) {
  EXPECT_EQ(normalised_edit_distance("", ""), 0);
  EXPECT_EQ(normalised_edit_distance("", "ABC"), 1);
  EXPECT_EQ(normalised_edit_distance("ABC", "XYZ"), 1);
  EXPECT_DOUBLE_EQ(normalised_edit_distance("HELLO", "HELL"), 0.2);
  EXPECT_DOUBLE_EQ(normalised_edit_distance("HELL", "HELLO"), 0.2);
  EXPECT_DOUBLE_EQ(normalised_edit_distance("A", "ABCD"), 0.75);
}

}  // namespace
}  // namespace glmimage
