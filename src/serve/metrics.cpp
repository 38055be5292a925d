#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>

#include "core/memory.h"

namespace glmimage::serve {
namespace {

namespace prom = prometheus;

prom::Family<prom::Counter>& counter(prom::Registry& to, const char* name, const char* help) {
  return prom::BuildCounter().Name(name).Help(help).Register(to);
}

prom::Family<prom::Gauge>& gauge(prom::Registry& to, const char* name, const char* help) {
  return prom::BuildGauge().Name(name).Help(help).Register(to);
}

// From answers out of memory to pictures of many steps.
const prom::Histogram::BucketBoundaries kSeconds = {0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};

// Values that are read off at a scrape: a registry of its own, made and thrown away.
void set(prom::Registry& to, const char* name, const char* help, double value, const prom::Labels& labels = {}) {
  gauge(to, name, help).Add(labels).Set(value);
}

// The same of a total that only grows.
void total(prom::Registry& to, const char* name, const char* help, double value, const prom::Labels& labels = {}) {
  counter(to, name, help).Add(labels).Increment(value);
}

void describe_queue(prom::Registry& to, const QueueCounts& counts) {
  for (const auto& [state, number] : counts.jobs) {
    set(to, "glm_image_jobs", "Jobs in the database.", static_cast<double>(number), {{"state", state_name(state)}});
  }
  set(to, "glm_image_queue_oldest_seconds", "How long the first in the queue has waited.",
      static_cast<double>(counts.oldest_queued_ms) / 1000);
  set(to, "glm_image_workers", "Workers of all machines that hold a job.", static_cast<double>(counts.workers));
  set(to, "glm_image_job_mean_seconds", "Mean time of the latest jobs.", counts.mean_seconds);
}

void describe_worker(prom::Registry& to, const WorkerStatus& worker) {
  const auto count = [](int64_t value) { return static_cast<double>(value); };
  set(to, "glm_image_worker_busy", "1 while this process draws.", worker.busy);
  set(to, "glm_image_worker_trouble", "1 while the store or the disk refuses.", worker.trouble.has_value());
  const char* jobs = "Jobs this process brought to an end.";
  total(to, "glm_image_worker_jobs_total", jobs, count(worker.jobs_done), {{"result", "done"}});
  total(to, "glm_image_worker_jobs_total", jobs, count(worker.jobs_failed), {{"result", "failed"}});
  total(to, "glm_image_worker_jobs_total", jobs, count(worker.jobs_cancelled), {{"result", "cancelled"}});
  total(to, "glm_image_pictures_total", "Pictures this process drew.", count(worker.pictures));
  total(to, "glm_image_visual_tokens_total", "Visual tokens this process wrote.", count(worker.visual_tokens));
  total(to, "glm_image_leases_lost_total", "Jobs that were given to another worker.", count(worker.leases_lost));
  for (const auto& [stage, seconds] : worker.seconds) {
    total(to, "glm_image_stage_seconds_total", "Time this process spent in each stage.", seconds, {{"stage", stage}});
  }
  const auto writing = worker.seconds.find("visual_tokens");
  if (writing != worker.seconds.end() && writing->second > 0) {
    set(to, "glm_image_visual_tokens_per_second", "Mean speed of the language model.",
        count(worker.visual_tokens) / writing->second);
  }
}

void describe_process(prom::Registry& to) {
  set(to, "glm_image_peak_resident_bytes", "The most memory this process had.",
      static_cast<double>(peak_resident_bytes()));
  set(to, "glm_image_free_memory_bytes", "What this process can still take.", static_cast<double>(free_memory_bytes()));
  set(to, "glm_image_build_info", "Always 1.", 1, {{"version", GLM_IMAGE_VERSION}});
}

}  // namespace

struct Metrics::State {
  prom::Registry registry;
  prom::Family<prom::Counter>& requests =
      counter(registry, "glm_image_http_requests_total", "Requests by route and status; 499: the client left.");
  prom::Family<prom::Counter>& bytes = counter(registry, "glm_image_http_sent_bytes_total", "Bytes of all answers.");
  prom::Family<prom::Histogram>& seconds = prom::BuildHistogram()
                                               .Name("glm_image_http_request_seconds")
                                               .Help("From the first byte of a request to the last of its answer.")
                                               .Register(registry);
  Sources sources;
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

void Metrics::set_sources(Sources sources) { state_->sources = std::move(sources); }

void Metrics::answered(const Request& request, int status, double seconds, uint64_t bytes) {
  // Paths and methods that are no route's are one label: a client must not grow this table.
  const bool known = !request.route.empty();
  const std::string route = known ? request.route : "other", method = known ? request.method : "other";
  state_->requests.Add({{"route", route}, {"method", method}, {"status", std::to_string(status)}}).Increment();
  state_->bytes.Add({}).Increment(static_cast<double>(bytes));
  state_->seconds.Add({{"route", route}}, kSeconds).Observe(seconds);
}

std::string Metrics::scrape() const {
  prom::Registry now;
  const Sources& sources = state_->sources;
  describe_queue(now, sources.queue());
  if (sources.worker) describe_worker(now, sources.worker());
  set(now, "glm_image_stored_bytes", "Bytes of all pictures.", static_cast<double>(sources.stored_bytes()));
  set(now, "glm_image_http_connections", "Open connections.", sources.connections());
  set(now, "glm_image_event_listeners", "Clients that follow a job.", static_cast<double>(sources.listeners()));
  describe_process(now);
  std::vector<prom::MetricFamily> families = state_->registry.Collect();
  for (prom::MetricFamily& family : now.Collect()) families.push_back(std::move(family));
  return prom::TextSerializer().Serialize(families);
}

}  // namespace glmimage::serve
