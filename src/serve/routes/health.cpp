#include "serve/metrics.h"
#include "serve/refusal.h"
#include "serve/routes/routes.h"

namespace glmimage::serve {
namespace {

Answer tell(int status, const std::string& what, const std::string& why = "") {
  Response out;
  out.status = status;
  nlohmann::json value = {{"status", what}};
  if (!why.empty()) value["reason"] = why;
  out.body = to_text(value);
  return out;
}

// 200 while new requests are welcome and will be drawn.
Answer ready(const Services& services) {
  if (services.phase != Phase::serving) return tell(503, "draining");
  if (const auto trouble = services.trouble ? services.trouble() : std::nullopt) return tell(503, "trouble", *trouble);
  services.jobs.counts();  // throws where the database is away
  return tell(200, "ready");
}

}  // namespace

void add_health_routes(Router& router, Services& services) {
  router.add({"GET", "/healthz", Door::open, 0, [](Request&) { return tell(200, "ok"); }});
  router.add({"GET", "/readyz", Door::open, 0, [&services](Request&) { return ready(services); }});
  router.add({"GET", "/metrics", Door::key, 0, [&services](Request&) -> Answer {
                Response out;
                out.content_type = "text/plain; version=0.0.4; charset=utf-8";
                out.body = services.metrics.scrape();
                return out;
              }});
}

}  // namespace glmimage::serve
