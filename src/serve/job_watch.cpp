#include "serve/job_watch.h"

#include <algorithm>

namespace glmimage::serve {

using Clock = std::chrono::steady_clock;

// Listening begins before the store is asked, so that nothing falls in between.
JobWatch::JobWatch(const JobStore& jobs, const BlobStore& blobs, EventHub& hub, std::string job,
                   std::chrono::milliseconds poll, std::function<void()> wake)
    : jobs_(jobs),
      blobs_(blobs),
      job_(std::move(job)),
      poll_(poll),
      subscription_(hub.subscribe(job_, std::move(wake))) {}

std::optional<JobEvent> JobWatch::next(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!finished_) {
    if (!ready_.empty()) {
      JobEvent event = std::move(ready_.front());
      ready_.pop_front();
      event.number = ++number_;
      finished_ = event.last();
      return event;
    }
    const auto now = Clock::now();
    if (now >= next_poll_) {
      ask_store();
      next_poll_ = Clock::now() + poll_;
      continue;
    }
    const auto pause = std::max(Clock::duration::zero(), std::min(deadline, next_poll_) - now);
    std::optional<JobEvent> event = subscription_->next(std::chrono::ceil<std::chrono::milliseconds>(pause));
    if (!event) {
      if (Clock::now() >= deadline) break;
      continue;
    }
    heard_ = event->kind != JobEvent::Kind::state;
    // The end is told by the store, which knows all pictures; the hub says when to ask.
    if (event->last())
      next_poll_ = {};
    else
      note(std::move(*event));
  }
  return {};
}

// Queues an event unless it was told.
void JobWatch::note(JobEvent event) {
  switch (event.kind) {
    case JobEvent::Kind::picture:
      if (!pictures_.insert(event.picture.index).second) return;
      break;
    case JobEvent::Kind::partial:
      if (pictures_.count(event.partial.index) > 0) return;
      if (!partials_.insert({event.partial.index, event.partial.number}).second) return;
      break;
    case JobEvent::Kind::state:
      if (state_ == event.state) return;
      state_ = event.state;
      break;
    case JobEvent::Kind::progress: {
      std::string text = event.progress.to_json().dump();
      if (text == progress_) return;
      progress_ = std::move(text);
      break;
    }
  }
  ready_.push_back(std::move(event));
}

void JobWatch::ask_store() {
  const std::optional<Job> job = jobs_.get(job_);
  JobEvent event;
  event.job = job_;
  event.kind = JobEvent::Kind::state;
  event.state = job ? job->state : JobState::cancelled;
  if (!is_final(event.state)) note(event);
  if (job) {
    if (job->progress) note_progress(*job->progress);
    for (const JobPicture& picture : job->pictures) {
      JobEvent drawn = event;
      drawn.kind = JobEvent::Kind::picture;
      drawn.picture = picture;
      note(std::move(drawn));
    }
    event.error = job->error;
  }
  if (is_final(event.state)) note(std::move(event));
}

// What another machine wrote: a second old, so it does not step back behind what the hub told.
void JobWatch::note_progress(const JobProgress& progress) {
  JobEvent event;
  event.job = job_;
  event.state = JobState::running;
  for (const PartialPicture& partial : progress.partials) {
    if (partials_.count({partial.index, partial.number}) > 0 || pictures_.count(partial.index) > 0) continue;
    std::optional<std::string> bytes = blobs_.get(partial.blob);
    if (!bytes) continue;  // it has been cleared away
    event.kind = JobEvent::Kind::partial;
    event.partial = partial;
    event.bytes = std::make_shared<const std::string>(std::move(*bytes));
    note(event);
  }
  if (heard_) return;
  event.kind = JobEvent::Kind::progress;
  event.progress = progress;
  event.bytes = nullptr;
  note(std::move(event));
}

}  // namespace glmimage::serve
