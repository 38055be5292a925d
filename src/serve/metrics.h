#pragma once

#include <functional>
#include <memory>
#include <string>

#include "serve/http.h"
#include "serve/job_store.h"
#include "serve/worker.h"

namespace glmimage::serve {

// What /metrics says, in the text form Prometheus reads.
class Metrics {
 public:
  // What is asked at each scrape.
  struct Sources {
    std::function<QueueCounts()> queue;
    std::function<WorkerStatus()> worker;
    std::function<int64_t()> stored_bytes;  // of all pictures
    std::function<int()> connections;
    std::function<size_t()> listeners;  // to events of jobs
  };
  Metrics();
  ~Metrics();
  void set_sources(Sources sources);  // before the first scrape

  void answered(const Request& request, int status, double seconds, uint64_t bytes);
  // Throws ErrorKind::io when the database refuses.
  std::string scrape() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace glmimage::serve
