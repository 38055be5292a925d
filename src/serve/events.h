#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "serve/http.h"

namespace glmimage::serve {

// One server-sent event (WHATWG HTML, 9.2). `name` and `id` are left out where empty.
std::string sse_event(const std::string& name, const nlohmann::json& data, const std::string& id = "");

// The head of an event stream, not buffered by proxies.
Response sse_head();

}  // namespace glmimage::serve
