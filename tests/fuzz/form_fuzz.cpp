// A multipart body: the first line is its Content-Type. It is refused with status 400, or its parts lie within it.
#include <algorithm>

#include "fuzz/memory_file.h"
#include "serve/multipart.h"
#include "serve/refusal.h"

using namespace glmimage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\n'), size);
  const std::string content_type(input.substr(0, end));
  const std::string_view body = input.substr(std::min(end + 1, size));
  serve::is_form(content_type);
  try {
    for (const serve::FormPart& part : serve::parse_form(body, content_type)) {
      test::require(!part.name.empty());
      const char* begin = part.content.data();
      test::require(begin >= body.data() && begin + part.content.size() <= body.data() + body.size());
    }
  } catch (const serve::Refusal& refusal) {
    test::require(refusal.status == 400);
  }
  return 0;
}
