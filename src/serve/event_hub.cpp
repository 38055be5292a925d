#include "serve/event_hub.h"

#include <algorithm>

namespace glmimage::serve {

std::optional<JobEvent> EventHub::Subscription::next(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, limit, [&] { return !waiting_.empty(); })) return {};
  JobEvent event = std::move(waiting_.front());
  waiting_.pop_front();
  return event;
}

void EventHub::Subscription::push(const JobEvent& event) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(event);
    for (const JobEvent::Kind kind : {JobEvent::Kind::progress, JobEvent::Kind::partial}) {
      if (waiting_.size() <= kMostWaiting) break;
      const auto oldest =
          std::find_if(waiting_.begin(), waiting_.end(), [&](const JobEvent& e) { return e.kind == kind; });
      if (oldest != waiting_.end()) waiting_.erase(oldest);
    }
  }
  arrived_.notify_one();
  if (wake_) wake_();
}

std::shared_ptr<EventHub::Subscription> EventHub::subscribe(const std::string& job, std::function<void()> wake) {
  auto subscription = std::make_shared<Subscription>();
  subscription->wake_ = std::move(wake);
  const std::lock_guard lock(mutex_);
  // Who left without a word: jobs that nobody draws here would keep their names for ever.
  for (auto entry = subscribers_.begin(); entry != subscribers_.end();) {
    std::erase_if(entry->second, [](const auto& each) { return each.expired(); });
    entry = entry->second.empty() ? subscribers_.erase(entry) : std::next(entry);
  }
  subscribers_[job].push_back(subscription);
  return subscription;
}

void EventHub::publish(const JobEvent& event) {
  std::vector<std::shared_ptr<Subscription>> listeners;
  {
    const std::lock_guard lock(mutex_);
    const auto found = subscribers_.find(event.job);
    if (found == subscribers_.end()) return;
    for (const auto& each : found->second) {
      if (auto listener = each.lock()) listeners.push_back(std::move(listener));
    }
  }
  for (const auto& listener : listeners) listener->push(event);
}

size_t EventHub::subscribers() const {
  const std::lock_guard lock(mutex_);
  size_t count = 0;
  for (const auto& [job, listeners] : subscribers_) {
    count += static_cast<size_t>(
        std::count_if(listeners.begin(), listeners.end(), [](const auto& each) { return !each.expired(); }));
  }
  return count;
}

}  // namespace glmimage::serve
