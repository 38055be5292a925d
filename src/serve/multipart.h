#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace glmimage::serve {

// One part of a multipart/form-data body. Views into the body.
struct FormPart {
  std::string name;       // of the field
  std::string file_name;  // as the client calls it; empty: no file. Never used as a path.
  std::string_view content;
};

struct FormLimits {
  size_t parts = 64;
  size_t header_bytes = 8 << 10;  // of one part's header
};

// RFC 7578 with RFC 2046's boundaries. `content_type` is the request's header. Throws Refusal (400) saying what is
// wrong: no boundary, a part without a name, a body that is cut short.
std::vector<FormPart> parse_form(std::string_view body, const std::string& content_type, const FormLimits& limits = {});

// Whether the header says multipart/form-data.
bool is_form(const std::string& content_type);

}  // namespace glmimage::serve
