#include "core/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace glmimage {
namespace {

TEST(Dtype, Parses) {
  EXPECT_EQ(parse_dtype("auto"), std::nullopt);
  EXPECT_EQ(parse_dtype("float32"), at::kFloat);
  EXPECT_EQ(parse_dtype("bfloat16"), at::kBFloat16);
  EXPECT_EQ(parse_dtype("float16"), at::kHalf);
}

TEST(Dtype, RefusesWhatModelsCannotRunIn) {
  for (const char* text : {"", "float64", "int64", "bf16", "Float32", "float32 "}) {
    try {
      parse_dtype(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), ::testing::HasSubstr("auto, float32, bfloat16 or float16"));
    }
  }
}

TEST(Dtype, Names) {
  EXPECT_EQ(dtype_name(at::kFloat), "float32");
  EXPECT_EQ(dtype_name(at::kBFloat16), "bfloat16");
  EXPECT_EQ(dtype_name(at::kLong), "int64");
  EXPECT_EQ(dtype_name(at::kFloat8_e4m3fn), "float8_e4m3fn");
}

}  // namespace
}  // namespace glmimage
