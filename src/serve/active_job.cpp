#include "serve/active_job.h"

#include <set>

namespace glmimage::serve {
namespace {

// Visual tokens come faster than anybody looks.
constexpr auto kBetweenEvents = std::chrono::milliseconds(50);

}  // namespace

ActiveJob::ActiveJob(Claim claim, EventHub& hub, const std::atomic<bool>& hand_back)
    : claim_(std::move(claim)), hub_(hub), hand_back_(hand_back) {
  std::set<int64_t> drawn;
  for (const JobPicture& picture : job().pictures) drawn.insert(picture.index);
  for (int64_t i = 0; i < job().request.count; ++i) {
    if (drawn.count(i) == 0) missing_.push_back(i);
  }
  if (!missing_.empty()) progress_.index = missing_.front();
  cancelled_ = job().cancel_requested;
}

JobProgress ActiveJob::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

JobEvent ActiveJob::event(JobEvent::Kind kind) const {
  JobEvent out;
  out.kind = kind;
  out.job = job().id;
  out.state = JobState::running;
  return out;
}

void ActiveJob::report(int64_t index, Stage stage, int64_t done, int64_t total) {
  JobEvent told = event(JobEvent::Kind::progress);
  {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    const bool another = stage != progress_.stage || index != progress_.index;
    progress_.index = index;
    progress_.stage = stage;
    progress_.done = done;
    progress_.total = total;
    if (!another && done != total && now < told_ + kBetweenEvents) return;
    told_ = now;
    told.progress = progress_;
  }
  hub_.publish(told);
}

void ActiveJob::add_partial(const PartialPicture& partial, std::string bytes) {
  JobEvent told = event(JobEvent::Kind::partial);
  told.partial = partial;
  told.bytes = std::make_shared<const std::string>(std::move(bytes));
  {
    const std::lock_guard lock(mutex_);
    progress_.partials.push_back(partial);
  }
  hub_.publish(told);
}

void ActiveJob::add_kept(const JobPicture& picture) {
  ++kept_;
  JobEvent told = event(JobEvent::Kind::picture);
  told.picture = picture;
  hub_.publish(told);
}

void ActiveJob::tell_state(JobState state, const std::optional<JobError>& error) const {
  JobEvent told = event(JobEvent::Kind::state);
  told.state = state;
  told.error = error;
  hub_.publish(told);
}

}  // namespace glmimage::serve
