#pragma once

#include "serve/router.h"
#include "serve/services.h"

// Each API family adds its routes. `services` outlives the router.
namespace glmimage::serve {

void add_openai_routes(Router& router, Services& services);
void add_job_routes(Router& router, Services& services);
void add_zai_routes(Router& router, Services& services);
void add_picture_routes(Router& router, Services& services);
void add_health_routes(Router& router, Services& services);
// The files of src/serve/web: index.html at /, others at their names.
void add_web_routes(Router& router);

// Bodies that hold no pictures.
constexpr uint64_t kSmallBody = uint64_t{1} << 20;

}  // namespace glmimage::serve
