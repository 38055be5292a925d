#include "serve/events.h"

#include "serve/refusal.h"

namespace glmimage::serve {

std::string sse_event(const std::string& name, const nlohmann::json& data, const std::string& id) {
  std::string out;
  if (!id.empty()) out += "id: " + id + "\n";
  if (!name.empty()) out += "event: " + name + "\n";
  return out + "data: " + to_text(data) + "\n\n";  // compact JSON is one line
}

Response sse_head() {
  Response out;
  out.content_type = "text/event-stream";
  out.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
  return out;
}

}  // namespace glmimage::serve
