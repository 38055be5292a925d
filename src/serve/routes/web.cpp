#include "serve/routes/routes.h"
#include "serve/web_files.h"

namespace glmimage::serve {
namespace {

Response send_file(const WebFile& file, const Request& request) {
  Response out;
  out.content_type = file.mime;
  const std::string tag = concat("\"", file.hash, "\"");
  out.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}};  // asked again each time, answered 304
  if (request.header("if-none-match") == tag) {
    out.status = 304;
  } else {
    out.body = file.content;
  }
  return out;
}

}  // namespace

// One route for each file: no path is ever made from what a client sent.
void add_web_routes(Router& router) {
  for (const WebFile& file : web_files()) {
    const std::string path = file.name == "index.html" ? "/" : concat("/", file.name);
    router.add({"GET", path, Door::open, 0, [&file](Request& request) -> Answer { return send_file(file, request); }});
  }
}

}  // namespace glmimage::serve
