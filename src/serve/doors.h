#pragma once

#include <optional>
#include <string>

#include "serve/http.h"
#include "serve/router.h"
#include "serve/services.h"

namespace glmimage::serve {

// Who may come in. All throw Refusal.

// 401 without a good key (Authorization: Bearer), 429 when it asks too often; fills in request.owner. Does nothing
// where no keys are asked for.
void check_key(Request& request, const Route& route, Services& services);

// Where no keys are asked for, a page of any site could otherwise ask through its visitor's browser: 421 for a Host
// that is none of this server's names (DNS rebinding), 403 for an Origin that is not the server itself or one of the
// allowed.
void check_browser(const Request& request, const ServiceOptions& options);

// Headers every answer has: content is what it says it is, is framed by nobody and loads nothing from elsewhere. For an
// allowed Origin also CORS'.
void add_common_headers(Response& response, const Request& request, const ServiceOptions& options);

// The answer to a CORS preflight request (OPTIONS): 204 with `methods`.
Response preflight(const Request& request, const std::string& methods, const ServiceOptions& options);

}  // namespace glmimage::serve
