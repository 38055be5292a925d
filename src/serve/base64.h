#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace glmimage::serve {

// RFC 4648, with padding, no line ends.
std::string encode_base64(std::string_view bytes);
// Also without padding, and with line ends as some clients write them. Unset: not base64.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace glmimage::serve
