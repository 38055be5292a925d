#include "text/special_tokens.h"

#include "core/error.h"

namespace glmimage {

std::string dit_token(int64_t index) { return concat(kDitTokenPrefix, index, "|>"); }

}  // namespace glmimage
