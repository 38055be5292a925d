#pragma once

#include "serve/draw_request.h"
#include "serve/http.h"
#include "serve/job.h"
#include "serve/services.h"

namespace glmimage::serve {

// Stores the request's pictures and puts its job into the queue: when this returns, the job survives a power cut. With
// the header Idempotency-Key the same request gives the job of the first time. Throws Refusal: 429 with Retry-After
// when the queue is full, 409 when the key came with another request, 503 while the server drains.
Job submit(DrawRequest draw, const Request& request, Services& services);

}  // namespace glmimage::serve
