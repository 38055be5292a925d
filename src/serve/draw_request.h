#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/fields.h"
#include "serve/http.h"
#include "serve/job.h"
#include "serve/picture_input.h"
#include "serve/services.h"

namespace glmimage::serve {

// A request to draw, understood and checked, whichever API it came by.
struct DrawRequest {
  std::string kind;                    // of Job
  JobRequest job;                      // all but `references`, which are stored when it is submitted
  std::vector<InputPicture> pictures;  // to edit
  std::string body_hash;               // of what was asked, for idempotency keys
  bool as_url = false;                 // else pictures are answered as base64
  bool stream = false;
  bool tell_progress = false;  // in the stream
};

// Which of the routes that share OpenAI's fields was asked.
enum class DrawRoute {
  generations,  // POST /v1/images/generations: JSON
  edits,        // POST /v1/images/edits: JSON or a form, with pictures
  jobs,         // POST /v1/jobs: either, with or without pictures; answers at once
};

// OpenAI's images API and what we added to it. The fields are those of docs/serving.md. Throws Refusal naming the
// field.
DrawRequest parse_openai_request(const Request& request, DrawRoute route, const Services& services);

// Z.ai's images API. Throws Refusal.
DrawRequest parse_zai_request(const Request& request, const Services& services);

// "1024x768", with x, × or *. Unset: "auto". Throws Refusal for anything else, and above the rules' pixels.
struct AskedSize {
  int64_t width = 0, height = 0;
};
std::optional<AskedSize> parse_size(const std::string& text, const DrawingRules& rules);

}  // namespace glmimage::serve
