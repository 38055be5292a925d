#include "serve/janitor.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace glmimage::serve {

struct Janitor::State {
  JobStore& jobs;
  BlobStore& blobs;
  JanitorOptions options;
  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;
  std::thread thread;

  void tidy() const {
    try {
      jobs.requeue_lost();
      jobs.retain(options.retention);
      blobs.collect_garbage(options.blob_grace);
    } catch (const Error&) {
      // The next turn tries again; until then there is only more to keep. Workers report what ails the database.
    }
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      lock.unlock();
      tidy();
      lock.lock();
      wake.wait_for(lock, options.interval, [&] { return stopping; });
    }
  }
};

Janitor::Janitor(JobStore& jobs, BlobStore& blobs, const JanitorOptions& options)
    : state_(new State{.jobs = jobs, .blobs = blobs, .options = options, .mutex = {}, .wake = {}, .thread = {}}) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Janitor::~Janitor() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
}

}  // namespace glmimage::serve
