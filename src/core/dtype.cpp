#include "core/dtype.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "core/error.h"

namespace glmimage {
namespace {

struct Name {
  const char* text;
  at::ScalarType dtype;
};
// The first three are what a model may be run in.
constexpr std::array<Name, 10> kNames{{{"float32", at::kFloat},
                                       {"bfloat16", at::kBFloat16},
                                       {"float16", at::kHalf},
                                       {"float64", at::kDouble},
                                       {"int64", at::kLong},
                                       {"int32", at::kInt},
                                       {"int16", at::kShort},
                                       {"int8", at::kChar},
                                       {"uint8", at::kByte},
                                       {"bool", at::kBool}}};
constexpr size_t kModelDtypes = 3;

}  // namespace

std::optional<at::ScalarType> parse_dtype(const std::string& text) {
  if (text == "auto") return std::nullopt;
  for (size_t i = 0; i < kModelDtypes; ++i) {
    if (text == kNames[i].text) return kNames[i].dtype;
  }
  fail(ErrorKind::usage, "dtype '", text, "' is not known; choose auto, float32, bfloat16 or float16");
}

std::string dtype_name(at::ScalarType dtype) {
  for (const Name& name : kNames) {
    if (dtype == name.dtype) return name.text;
  }
  std::string text = c10::toString(dtype);  // "Float8_e4m3fn" -> "float8_e4m3fn", as Python spells it
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace glmimage
