#include "serve/worker.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/current_error.h"
#include "core/encode_image.h"
#include "serve/active_job.h"
#include "serve/encode_picture.h"
#include "serve/process_identity.h"

namespace glmimage::serve {
namespace {

using namespace std::chrono_literals;

// Changes come in bursts; one look answers for all of them, and still well within a step.
constexpr auto kBetweenHeartbeats = 20ms;
constexpr auto kFirstRetry = 100ms, kLongestRetry = 2000ms;

struct Item {
  std::shared_ptr<ActiveJob> job;
  int64_t index;
};

const JobLoras& loras_of(const std::shared_ptr<ActiveJob>& job) { return job->job().request.loras; }

// Those with the same adapters behind each other, which are then merged once; else in their order.
std::vector<std::vector<std::shared_ptr<ActiveJob>>> by_adapters(const std::vector<std::shared_ptr<ActiveJob>>& jobs) {
  std::vector<std::vector<std::shared_ptr<ActiveJob>>> out;
  for (const auto& job : jobs) {
    const auto same = std::find_if(out.begin(), out.end(),
                                   [&](const auto& group) { return loras_of(group.front()) == loras_of(job); });
    if (same == out.end())
      out.push_back({job});
    else
      same->push_back(job);
  }
  return out;
}

// The first picture of each job, then the second of each, …: those claimed together end at about the same time.
std::vector<Item> in_turns(const std::vector<std::shared_ptr<ActiveJob>>& jobs) {
  std::vector<Item> out;
  for (size_t turn = 0, before = 1; before != out.size() || turn == 0; ++turn) {
    before = out.size();
    for (const auto& job : jobs) {
      if (turn < job->missing().size()) out.push_back({job, job->missing()[turn]});
    }
  }
  return out;
}

// Sleeps; false: something disturbed it.
bool rest(std::chrono::milliseconds time, const std::function<bool()>& disturbed) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) {
    if (disturbed()) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

}  // namespace

struct Worker::State {
  State(const Services& its_services, const WorkerOptions& its_options)
      : services(its_services), options(its_options) {}

  Services services;
  WorkerOptions options;
  std::string identity = process_identity();
  std::atomic<bool> stopping = false, hand_back = false, drawing_ended = false;
  mutable std::mutex mutex;  // of status and active
  WorkerStatus status;
  std::vector<std::shared_ptr<ActiveJob>> active;
  std::thread drawing, heart;
  std::mutex join_mutex;

  ChangeSignal& changes() const { return services.jobs.changes(); }

  template <typename Change>
  void update(Change&& change) {
    const std::lock_guard lock(mutex);
    change(status);
  }
  void set_trouble(const std::string& message) {
    update([&](WorkerStatus& s) { s.trouble = message; });
  }
  void clear_trouble() {
    update([](WorkerStatus& s) { s.trouble.reset(); });
  }

  void set_active(std::vector<std::shared_ptr<ActiveJob>> jobs) {
    const std::lock_guard lock(mutex);
    status.busy = !jobs.empty();
    active = std::move(jobs);
  }

  void run_drawing();
  void run_heart();
  void keep_lease(ActiveJob& job) const;
  void look_at(ActiveJob& job) const;
  void draw(std::vector<Claim> claims);
  void draw_together(std::span<const Item> items);
  bool load_references(ActiveJob& job, GenerateRequest& request);
  RequestObserver observer_of(const std::shared_ptr<ActiveJob>& job, int64_t index, Progress* progress);
  void keep(ActiveJob& job, int64_t index, const GenerateRequest& request, const GenerateResult& result);
  void fail(ActiveJob& job, const Error& error);
  void conclude(ActiveJob& job);
  void tell_done(ActiveJob& job);
  void release(ActiveJob& job, Attempt attempt = Attempt::spared);
  bool persist(const ActiveJob& job, const std::function<bool()>& write);
};

// Does what writes to the store until it succeeds: what was drawn is not thrown away because a disk is full for an
// hour. False: the lease is lost (`write` says so by false), or the worker is to let go.
bool Worker::State::persist(const ActiveJob& job, const std::function<bool()>& write) {
  for (auto pause = std::chrono::milliseconds(kFirstRetry);;
       pause = std::min<std::chrono::milliseconds>(2 * pause, kLongestRetry)) {
    try {
      const bool held = write();
      clear_trouble();
      return held;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::io) throw;
      set_trouble(error.what());
    }
    if (!rest(pause, [&] { return hand_back || job.lost(); })) return false;
  }
}

void Worker::State::run_drawing() {
  uint64_t seen = changes().version();
  while (!stopping) {
    try {
      std::vector<Claim> claims = services.jobs.claim(identity, options.batch, options.lease);
      clear_trouble();
      if (!claims.empty()) {
        draw(std::move(claims));
        continue;
      }
    } catch (...) {
      set_trouble(current_error().what());
    }
    if (!stopping) seen = changes().wait(seen, options.poll);
  }
  drawing_ended = true;
  changes().notify();
}

// Leases are kept once a heartbeat. In between, changes are looked at, as one may be a client's wish to cancel; that
// only reads, and so keeps nobody waiting.
void Worker::State::run_heart() {
  using Clock = std::chrono::steady_clock;
  uint64_t seen = changes().version();
  Clock::time_point due = Clock::now() + options.heartbeat;
  while (!drawing_ended) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - Clock::now());
    seen = changes().wait(seen, std::max(left, std::chrono::milliseconds(0)));
    const bool beat = Clock::now() >= due;
    if (beat) due = Clock::now() + options.heartbeat;
    std::vector<std::shared_ptr<ActiveJob>> jobs;
    {
      const std::lock_guard lock(mutex);
      jobs = active;
    }
    for (const auto& job : jobs) {
      try {
        if (beat)
          keep_lease(*job);
        else
          look_at(*job);
      } catch (...) {
        set_trouble(current_error().what());
      }
    }
    std::this_thread::sleep_for(kBetweenHeartbeats);
  }
}

void Worker::State::keep_lease(ActiveJob& job) const {
  const LeaseState state = services.jobs.heartbeat(job.lease(), job.progress(), options.lease);
  if (state == LeaseState::lost) job.set_lost();
  if (state == LeaseState::cancel_requested) job.set_cancelled();
}

void Worker::State::look_at(ActiveJob& job) const {
  const std::optional<Job> now = services.jobs.get(job.job().id);
  if (now && now->cancel_requested) job.set_cancelled();
}

void Worker::State::draw(std::vector<Claim> claims) {
  std::vector<std::shared_ptr<ActiveJob>> jobs;
  for (Claim& claim : claims) jobs.push_back(std::make_shared<ActiveJob>(std::move(claim), services.hub, hand_back));
  set_active(jobs);
  // Whatever happens, a lease that nobody works under is not kept.
  const std::unique_ptr<State, void (*)(State*)> rest(this, [](State* state) { state->set_active({}); });
  for (const auto& job : jobs) job->tell_state(JobState::running);
  const size_t batch = static_cast<size_t>(options.batch);
  for (const auto& group : by_adapters(jobs)) {
    const std::vector<Item> items = in_turns(group);
    for (size_t i = 0; i < items.size(); i += batch) {
      draw_together(std::span(items).subspan(i, std::min(batch, items.size() - i)));
    }
  }
  for (const auto& job : jobs) conclude(*job);
}

void Worker::State::draw_together(std::span<const Item> items) {
  std::vector<DrawTask> tasks;
  tasks.reserve(items.size());  // requests are pointed to
  std::vector<std::unique_ptr<PictureProgress>> progress;
  for (const auto& [job, index] : items) {
    if (job->concluded || job->stopped()) continue;
    GenerateRequest request = picture_request(job->job().request, index);
    if (!load_references(*job, request)) continue;
    progress.push_back(std::make_unique<PictureProgress>(*job, index));
    DrawTask task;
    task.request = std::move(request);
    task.observer = observer_of(job, index, progress.back().get());
    task.failed = [this, job = job](const Error& error) { fail(*job, error); };
    tasks.push_back(std::move(task));
    const GenerateRequest* drawn = &tasks.back().request;
    tasks.back().done = [this, job = job, index = index, drawn](const GenerateResult& result) {
      keep(*job, index, *drawn, result);
    };
  }
  if (!tasks.empty()) services.painter.draw(tasks, loras_of(items.front().job));
  for (const Item& item : items) {
    if (item.index == item.job->missing().back() || item.job->stopped()) conclude(*item.job);
  }
}

// False: they cannot be had, and the job has been told so.
bool Worker::State::load_references(ActiveJob& job, GenerateRequest& request) {
  try {
    for (const std::string& hash : job.job().request.references) {
      std::optional<std::string> bytes;
      if (!persist(job, [&] {
            bytes = services.blobs.get(hash);
            return true;
          })) {
        return false;
      }
      if (!bytes) glmimage::fail(ErrorKind::io, "the reference picture ", hash, " is no longer stored");
      const auto* data = reinterpret_cast<const uint8_t*>(bytes->data());
      request.references.push_back(decode_image({data, bytes->size()}, "reference picture"));
    }
    return true;
  } catch (...) {
    fail(job, current_error());
    return false;
  }
}

RequestObserver Worker::State::observer_of(const std::shared_ptr<ActiveJob>& job, int64_t index, Progress* progress) {
  RequestObserver observer;
  observer.progress = progress;
  const JobRequest& request = job->job().request;
  observer.preview_steps = partial_steps(request.steps, request.partial_images);
  if (observer.preview_steps.empty()) return observer;
  observer.preview = [this, job, index, number = int64_t{0}](int64_t, const Image& picture) mutable {
    const std::vector<uint8_t> png = encode_image(picture);
    std::string bytes(png.begin(), png.end());
    try {
      const std::string blob = services.blobs.put(bytes);
      job->add_partial({.index = index, .number = number++, .blob = blob}, std::move(bytes));
    } catch (const Error& error) {
      set_trouble(error.what());  // the picture itself is still to come
    }
  };
  return observer;
}

void Worker::State::keep(ActiveJob& job, int64_t index, const GenerateRequest& request, const GenerateResult& result) {
  try {
    const JobRequest& asked = job.job().request;
    const std::string bytes =
        options.encode ? options.encode(job.job(), request, result) : encode_picture(result.image, asked);
    JobPicture picture{.index = index,
                       .seed = result.seed,
                       .blob = {},
                       .mime = media_type_of(parse_picture_format(asked.format)),
                       .width = result.image.width,
                       .height = result.image.height,
                       .bytes = static_cast<int64_t>(bytes.size()),
                       .seconds = result.seconds,
                       .visual_tokens = result.visual_tokens};
    const bool last = job.completed_by_one();
    const bool kept = persist(job, [&] {
      picture.blob = services.blobs.put(bytes);
      return last ? services.jobs.finish(job.lease(), picture) : services.jobs.add_picture(job.lease(), picture);
    });
    if (!kept) {
      if (!hand_back) job.set_lost();
      return;
    }
    update([&](WorkerStatus& s) {
      ++s.pictures;
      s.visual_tokens += result.visual_tokens;
      for (const auto& [stage, seconds] : result.seconds) s.seconds[stage] += seconds;
    });
    job.add_kept(picture);
    if (last) tell_done(job);
  } catch (...) {
    fail(job, current_error());
  }
}

void Worker::State::fail(ActiveJob& job, const Error& error) {
  if (job.concluded || (error.kind() == ErrorKind::cancelled && job.stopped())) return;
  job.concluded = true;
  if (error.kind() == ErrorKind::device) {
    // Another worker may draw it; this one would fail the whole queue in no time.
    release(job, Attempt::counted);
    set_trouble(error.what());
    rest(kLongestRetry, [&] { return stopping.load(); });
    return;
  }
  const JobError told{kind_name(error.kind()), error.what()};
  if (!persist(job, [&] { return services.jobs.fail_job(job.lease(), told); })) return release(job);
  update([](WorkerStatus& s) { ++s.jobs_failed; });
  job.tell_state(JobState::failed, told);
}

// All pictures were there before, or the job was stopped: by its client, by losing the lease, or by letting go.
void Worker::State::conclude(ActiveJob& job) {
  if (job.concluded) return;
  if (job.lost()) {
    job.concluded = true;
    return release(job);
  }
  std::optional<Job> now;
  persist(job, [&] {
    now = services.jobs.get(job.job().id);
    return true;
  });
  const bool whole = now && static_cast<int64_t>(now->pictures.size()) == now->request.count;
  if (now && !whole && !job.stopped()) {
    return fail(job, Error(ErrorKind::internal, "pictures of the request were left out"));
  }
  job.concluded = true;
  if (!whole && !job.cancelled()) return release(job);
  const bool held = persist(
      job, [&] { return whole ? services.jobs.finish(job.lease()) : services.jobs.finish_cancelled(job.lease()); });
  if (!held) return release(job);
  if (whole) return tell_done(job);
  update([](WorkerStatus& s) { ++s.jobs_cancelled; });
  job.tell_state(JobState::cancelled);
}

void Worker::State::tell_done(ActiveJob& job) {
  job.concluded = true;
  update([](WorkerStatus& s) { ++s.jobs_done; });
  job.tell_state(JobState::done);
}

// Lets go without a result. A lease that cannot even be given back runs out by itself.
void Worker::State::release(ActiveJob& job, Attempt attempt) {
  bool held = false;
  try {
    held = !job.lost() && services.jobs.hand_back(job.lease(), attempt);
  } catch (const Error& error) {
    set_trouble(error.what());
  }
  if (held)
    job.tell_state(JobState::queued);
  else
    update([](WorkerStatus& s) { ++s.leases_lost; });
}

Worker::Worker(const Services& services, const WorkerOptions& options) : state_(new State(services, options)) {
  state_->drawing = std::thread([state = state_.get()] { state->run_drawing(); });
  state_->heart = std::thread([state = state_.get()] { state->run_heart(); });
}

Worker::~Worker() { stop(Stop::hand_back); }

void Worker::stop(Stop how) {
  if (how == Stop::hand_back) state_->hand_back = true;
  state_->stopping = true;
  state_->changes().notify();
  const std::lock_guard lock(state_->join_mutex);
  if (state_->drawing.joinable()) state_->drawing.join();
  if (state_->heart.joinable()) state_->heart.join();
}

WorkerStatus Worker::status() const {
  const std::lock_guard lock(state_->mutex);
  return state_->status;
}

}  // namespace glmimage::serve
