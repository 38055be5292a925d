// A request to draw: the first line is its target, the second its Content-Type, the rest its body. It is refused with a
// status of the client's, or becomes a job that reads from the database as it was written.
#include <stdlib.h>

#include <filesystem>
#include <optional>

#include "fuzz/memory_file.h"
#include "serve/draw_request.h"
#include "serve/metrics.h"
#include "serve/refusal.h"
#include "serve/request_log.h"

using namespace glmimage;
using namespace glmimage::serve;

namespace {

ServedModel model() {
  ServedModel out;
  out.default_size = 64;
  return out;
}

// Parsing asks for rules and limits only, but they come with everything a server has.
struct Stores {
  std::string folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "glm-image-fuzz-XXXXXX").string();
    test::require(::mkdtemp(name.data()) != nullptr);
    return name;
  }();
  std::unique_ptr<Database> database = Database::open(folder + "/queue.sqlite");
  std::unique_ptr<BlobBackend> backend = open_disk_blobs(folder + "/blobs");
  BlobStore blobs{*database, *backend};
  JobStore jobs{*database};
  KeyStore keys{*database};
  EventHub hub;
  Metrics metrics;
  RequestLog log{[](const std::string&) {}, false};
  Services services{.jobs = jobs,
                    .blobs = blobs,
                    .keys = keys,
                    .hub = hub,
                    .metrics = metrics,
                    .log = log,
                    .model = model(),
                    .rules = {},
                    .options = {},
                    .trouble = {}};
  ~Stores() { std::filesystem::remove_all(folder); }
};

std::string take_line(std::string_view& rest) {
  const size_t end = std::min(rest.find('\n'), rest.size());
  std::string line(rest.substr(0, end));
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

DrawRequest understand(const Request& request, const Services& services) {
  if (request.path == "/v1/images/edits") return parse_openai_request(request, DrawRoute::edits, services);
  if (request.path == "/v1/jobs") return parse_openai_request(request, DrawRoute::jobs, services);
  if (request.path.starts_with("/api")) return parse_zai_request(request, services);
  return parse_openai_request(request, DrawRoute::generations, services);
}

void check(const DrawRequest& draw, const DrawingRules& rules) {
  const JobRequest& job = draw.job;
  test::require(!job.prompt.empty() && job.count >= 1 && job.count <= 10);
  test::require(job.steps >= 1 && job.steps <= rules.max_steps);
  test::require(job.width.value_or(1) * job.height.value_or(1) <= rules.max_pixels);
  test::require(draw.pictures.size() <= rules.pictures.count);
  const std::string written = job.to_json().dump();
  test::require(JobRequest::from_json(nlohmann::json::parse(written)).to_json().dump() == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Stores stores;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Request request;
  request.method = "POST";
  request.target = take_line(rest);
  request.headers["content-type"] = take_line(rest);
  request.body = rest;
  if (!parse_target(request.target, request)) return 0;
  try {
    check(understand(request, stores.services), stores.services.rules);
  } catch (const Refusal& refusal) {
    test::require(refusal.status >= 400 && refusal.status < 500);
    test::require(!to_response(refusal, family_of(request.path)).body.empty());
  }
  return 0;
}
