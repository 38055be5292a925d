#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/picture_size.h"
#include "serve/fetch_picture.h"

namespace glmimage::serve {

struct PictureLimits {
  size_t count = 16;          // of one request
  size_t bytes = 50'000'000;  // of one file
  int64_t pixels =
      64'000'000;           // of one picture once decoded: a header is believed before a byte of memory is asked for
  FetchSources fetch = {};  // https://…; data: always
};

// A picture to edit, as it came.
struct InputPicture {
  std::string bytes;
  PictureSize size;
};

// Checks a file's length, format and size without decoding it. `field` is to blame in messages. Throws Refusal: 400, or
// 413 when it is too large.
InputPicture check_picture(std::string bytes, const std::string& field, const PictureLimits& limits);

// "data:image/png;base64,…" or, where switched on, "https://…". Throws Refusal.
InputPicture picture_from_url(const std::string& url, const std::string& field, const PictureLimits& limits);

}  // namespace glmimage::serve
