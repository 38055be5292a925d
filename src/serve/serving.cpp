#include "serve/serving.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/libcurl.h"
#include "serve/front.h"
#include "serve/labelled_picture.h"
#include "serve/metrics.h"
#include "serve/pipeline_painter.h"
#include "serve/served_model.h"

namespace glmimage::serve {
namespace {

void check_keys(const ServingOptions& options, const KeyStore& keys) {
  if (keys.any() || is_loopback(options.server.address)) return;
  fail(ErrorKind::usage, "anybody on the network could draw at ", options.server.address,
       ": make an API key first (glm-image keys add NAME), or listen on 127.0.0.1");
}

}  // namespace

struct Serving::State {
  State(ServingOptions o, RequestLog& log, Progress* progress);
  void connect_metrics();

  ServingOptions options;
  Front front;
  Server server;
  std::unique_ptr<Database> database;
  std::unique_ptr<BlobBackend> backend;
  JobStore jobs;
  BlobStore blobs;
  KeyStore keys;
  EventHub hub;
  Metrics metrics;
  std::optional<PipelinePainter> painter;
  at::ScalarType dtype = at::kFloat;
  std::vector<LoraUse> loras;
  std::optional<Services> services;
  std::optional<Janitor> janitor;
  std::optional<Worker> worker;
};

Serving::State::State(ServingOptions o, RequestLog& log, Progress* progress)
    : options(std::move(o)),
      server(options.server, front),
      database(Database::open(options.queue)),
      backend(open_blobs(options.blobs)),
      jobs(*database, options.limits),
      blobs(*database, *backend),
      keys(*database) {
  check_keys(options, keys);
  options.service.need_keys = keys.any();
  if (options.rules.pictures.fetch.any()) libcurl();  // a missing library is told now
  const auto catalog = std::make_shared<const LoraCatalog>(options.pipeline.loras, options.lora_folder);
  painter.emplace(options.pipeline, catalog, progress);
  dtype = painter->pipeline().dtype();
  loras = painter->pipeline().loras();
  ServedModel model = describe_model(options.model_name, options.pipeline.model, painter->pipeline());
  model.loras = catalog;
  services.emplace(jobs, blobs, keys, hub, metrics, log, std::move(model), options.rules, options.service);
  services->trouble = [this] { return worker->status().trouble; };
  connect_metrics();
  front.open(*services);
  janitor.emplace(jobs, blobs, options.janitor);
  options.worker.encode = LabelledPicture(*painter, options.file);
  worker.emplace(Worker::Services{jobs, blobs, hub, *painter}, options.worker);
}

void Serving::State::connect_metrics() {
  metrics.set_sources({.queue = [this] { return jobs.counts(); },
                       .worker = [this] { return worker->status(); },
                       .stored_bytes = [this] { return blobs.bytes(); },
                       .connections = [this] { return server.open_connections(); },
                       .listeners = [this] { return hub.subscribers(); }});
}

Serving::Serving(ServingOptions options, RequestLog& log, Progress* progress)
    : state_(std::make_unique<State>(std::move(options), log, progress)) {}

// The worker goes first: it tells its listeners, which the server holds.
Serving::~Serving() { state_->worker.reset(); }

void Serving::run() { state_->server.run(); }

void Serving::drain() {
  State& state = *state_;
  state.services->phase = Phase::draining;
  state.server.drain();
  std::mutex mutex;
  std::condition_variable changed;
  bool drawn = false;
  std::thread hurry;
  if (state.options.drain.count() > 0) {
    hurry = std::thread([&] {
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, state.options.drain, [&] { return drawn; })) {
        lock.unlock();
        state.worker->stop(Worker::Stop::hand_back);
      }
    });
  }
  state.worker->stop(Worker::Stop::after_current);
  {
    const std::lock_guard lock(mutex);
    drawn = true;
  }
  changed.notify_all();
  if (hurry.joinable()) hurry.join();
  state.services->phase = Phase::stopping;
}

uint16_t Serving::port() const { return state_->server.port(); }

at::ScalarType Serving::dtype() const { return state_->dtype; }
const std::vector<LoraUse>& Serving::loras() const { return state_->loras; }

}  // namespace glmimage::serve
