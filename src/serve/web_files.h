#pragma once

#include <span>
#include <string_view>

namespace glmimage::serve {

// A file of src/serve/web, inside the program (cmake/embed_files.cmake).
struct WebFile {
  std::string_view name;  // "index.html", "js/app.js"
  std::string_view mime;
  std::string_view content;
  std::string_view hash;  // of the content, for ETag
};

// All of them, for as long as the program runs.
std::span<const WebFile> web_files();

}  // namespace glmimage::serve
