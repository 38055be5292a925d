#include "serve/event_hub.h"

#include <gtest/gtest.h>

#include <thread>

namespace glmimage::serve::test {
namespace {

using namespace std::chrono_literals;

JobEvent event(JobEvent::Kind kind, int64_t number = 0) {
  JobEvent out;
  out.kind = kind;
  out.job = "job";
  out.progress.done = number;
  out.picture.index = number;
  return out;
}

JobEvent finished() {
  JobEvent out = event(JobEvent::Kind::state);
  out.state = JobState::done;
  return out;
}

TEST(EventHubTest, EventsReachThoseWhoListenToTheJob) {
  EventHub hub;
  const auto one = hub.subscribe("job"), two = hub.subscribe("job"), other = hub.subscribe("another");
  hub.publish(event(JobEvent::Kind::progress, 5));
  EXPECT_EQ(one->next(1s)->progress.done, 5);
  EXPECT_EQ(two->next(1s)->progress.done, 5);
  EXPECT_FALSE(other->next(0ms));
  EXPECT_FALSE(one->next(0ms));
}

TEST(EventHubTest, ASlowListenerLosesOldProgressAndNothingElse) {
  EventHub hub;
  const auto slow = hub.subscribe("job");
  constexpr int64_t kMany = 10 * static_cast<int64_t>(EventHub::kMostWaiting);
  for (int64_t i = 0; i < kMany; ++i) {
    hub.publish(event(JobEvent::Kind::progress, i));
    if (i % 100 == 0) hub.publish(event(JobEvent::Kind::picture, i));
  }
  hub.publish(finished());
  int64_t progress = 0, pictures = 0, newest = 0;
  std::optional<JobEvent> last;
  while (auto next = slow->next(0ms)) {
    progress += next->kind == JobEvent::Kind::progress;
    pictures += next->kind == JobEvent::Kind::picture;
    if (next->kind == JobEvent::Kind::progress) newest = next->progress.done;
    last = next;
  }
  EXPECT_EQ(progress + pictures + 1, static_cast<int64_t>(EventHub::kMostWaiting));
  EXPECT_EQ(pictures, 4);
  EXPECT_EQ(newest, kMany - 1);
  EXPECT_TRUE(last->last());
}

TEST(EventHubTest, TheEndArrivesHoweverMuchIsWaiting) {
  EventHub hub;
  const auto slow = hub.subscribe("job");
  for (int64_t i = 0; i < 200; ++i) hub.publish(event(JobEvent::Kind::picture, i));
  hub.publish(finished());
  int64_t pictures = 0;
  bool ended = false;
  while (auto next = slow->next(0ms)) {
    pictures += next->kind == JobEvent::Kind::picture;
    ended = next->last();
  }
  EXPECT_EQ(pictures, 200);
  EXPECT_TRUE(ended);
}

TEST(EventHubTest, WaitingEndsWhenAnEventComes) {
  EventHub hub;
  const auto listener = hub.subscribe("job");
  std::jthread publisher([&] {
    std::this_thread::sleep_for(20ms);
    hub.publish(finished());
  });
  EXPECT_TRUE(listener->next(10s));
}

TEST(EventHubTest, ThoseWhoLeaveAreForgotten) {
  EventHub hub;
  auto listener = hub.subscribe("job");
  EXPECT_EQ(hub.subscribers(), 1u);
  listener.reset();
  EXPECT_EQ(hub.subscribers(), 0u);
  hub.publish(finished());
}

}  // namespace
}  // namespace glmimage::serve::test
