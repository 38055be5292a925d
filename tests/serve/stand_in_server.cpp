// The server without a model: all of HTTP, the queue and the worker, over a painter that draws 8 x 4 pixels. Small
// enough to be built with sanitizers (tests/fuzz).
//   stand_in_server FOLDER      a new queue in the folder; tells its port on standard error as `glm-image serve` does
#include <signal.h>

#include <cstdio>
#include <thread>

#include "core/error.h"
#include "serve/fake_painter.h"
#include "serve/front.h"
#include "serve/janitor.h"
#include "serve/metrics.h"
#include "serve/request_log.h"
#include "serve/server.h"
#include "serve/worker.h"

namespace glmimage::serve::test {
namespace {

ServedModel stand_in_model() {
  ServedModel model;
  model.default_size = 64;
  model.count_text_tokens = [](const std::string& prompt) { return static_cast<int64_t>(prompt.size()); };
  model.count_picture_tokens = [](const PictureSize& size) { return size.width * size.height / 1024; };
  return model;
}

int run(const std::string& folder) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Front front;
  ServerOptions options;
  options.port = 0;
  Server server(options, front);
  const auto database = Database::open(folder + "/queue.sqlite");
  const auto backend = open_blobs(folder + "/blobs");
  BlobStore blobs(*database, *backend);
  JobStore jobs(*database);
  KeyStore keys(*database);
  EventHub hub;
  Metrics metrics;
  RequestLog log(write_to_stderr, false);
  FakePainter painter;
  DrawingRules rules;
  rules.pictures.pixels = 1'000'000;
  Services services{.jobs = jobs,
                    .blobs = blobs,
                    .keys = keys,
                    .hub = hub,
                    .metrics = metrics,
                    .log = log,
                    .model = stand_in_model(),
                    .rules = rules,
                    .options = {},
                    .trouble = [] { return std::optional<std::string>(); }};
  front.open(services);
  Worker worker({.jobs = jobs, .blobs = blobs, .hub = hub, .painter = painter});
  metrics.set_sources({.queue = [&] { return jobs.counts(); },
                       .worker = [&] { return worker.status(); },
                       .stored_bytes = [&] { return blobs.bytes(); },
                       .connections = [&] { return server.open_connections(); },
                       .listeners = [&] { return hub.subscribers(); }});
  const Janitor janitor(jobs, blobs, {});
  log.note("listening", {{"port", server.port()}});
  std::thread watcher([&] {
    int number = 0;
    ::sigwait(&signals, &number);
    services.phase = Phase::draining;
    server.drain();
    worker.stop(Worker::Stop::after_current);
    services.phase = Phase::stopping;
  });
  server.run();
  watcher.join();
  return 0;
}

}  // namespace
}  // namespace glmimage::serve::test

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    return glmimage::serve::test::run(argv[1]);
  } catch (const glmimage::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
