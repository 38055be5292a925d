#include "serve/picture_input.h"

#include <optional>
#include <span>
#include <string_view>

#include "core/image.h"
#include "serve/base64.h"
#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

std::string decode_data_url(std::string_view url, const std::string& field) {
  const size_t comma = url.find(',');
  if (comma == std::string_view::npos || !url.substr(0, comma).ends_with(";base64")) {
    throw Refusal(400, concat("'", field, "': a data: URL should read data:image/png;base64,…"), field,
                  "invalid_image_url");
  }
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) throw Refusal(400, concat("'", field, "' is no valid base64"), field, "invalid_base64");
  return std::move(*bytes);
}

}  // namespace

InputPicture check_picture(std::string bytes, const std::string& field, const PictureLimits& limits) {
  if (bytes.empty()) throw Refusal(400, concat("'", field, "' is an empty file"), field, "invalid_image");
  if (bytes.size() > limits.bytes) {
    throw Refusal(413, concat("'", field, "' has ", bytes.size(), " bytes; a picture may have ", limits.bytes), field,
                  "image_too_large");
  }
  InputPicture out;
  try {
    out.size = picture_size(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()), field);
  } catch (const Error& error) {
    throw Refusal(400, error.what(), field, "invalid_image");
  }
  const bool fits = out.size.width <= kMaxImageSide && out.size.height <= kMaxImageSide &&
                    out.size.width * out.size.height <= limits.pixels;
  if (!fits) {
    throw Refusal(400,
                  concat("'", field, "' is a picture of ", out.size.width, " x ", out.size.height, "; at most ",
                         limits.pixels, " pixels and ", kMaxImageSide, " a side are taken"),
                  field, "image_too_large");
  }
  out.bytes = std::move(bytes);
  return out;
}

InputPicture picture_from_url(const std::string& url, const std::string& field, const PictureLimits& limits) {
  if (url.starts_with("data:")) return check_picture(decode_data_url(url, field), field, limits);
  if (url.starts_with("https://") && limits.fetch.any()) {
    return check_picture(fetch_picture(url, limits.fetch, {.bytes = limits.bytes}), field, limits);
  }
  throw Refusal(400,
                concat("'", field, "' should be a data: URL",
                       limits.fetch.any() ? " or an https:// one" : "; this server fetches no pictures from the net"),
                field, "invalid_image_url");
}

}  // namespace glmimage::serve
