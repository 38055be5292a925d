#include "serve/worker.h"

#include <gmock/gmock.h>

#include "core/encode_image.h"
#include "serve/fake_painter.h"
#include "serve/job_watch.h"
#include "serve/store_fixture.h"

namespace glmimage::serve::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class WorkerTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    if (database_) jobs_ = std::make_unique<JobStore>(*database_);
  }
  void TearDown() override {
    jobs_.reset();
    StoreTest::TearDown();
  }

  std::unique_ptr<Worker> worker(Painter& painter, WorkerOptions options = {}) {
    options.heartbeat = std::min<std::chrono::milliseconds>(options.heartbeat, 200ms);
    return std::make_unique<Worker>(Worker::Services{.jobs = *jobs_, .blobs = *blobs_, .hub = hub_, .painter = painter},
                                    options);
  }
  std::string submit(const std::string& prompt, int64_t count = 1, int64_t steps = 4) {
    NewJob job = new_job(prompt, "", count);
    job.request.steps = steps;
    return jobs_->submit(job).job.id;
  }
  template <typename Condition>
  static bool eventually(Condition&& condition) {
    const auto deadline = Clock::now() + 60s;  // for machines that are busy with other things
    while (!condition()) {
      if (Clock::now() > deadline) return false;
      std::this_thread::sleep_for(2ms);
    }
    return true;
  }
  bool reaches(const std::string& id, JobState state) {
    return eventually([&] { return jobs_->get(id)->state == state; });
  }
  Image stored(const JobPicture& picture) {
    const std::string bytes = *blobs_->get(picture.blob);
    return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "picture");
  }
  static std::vector<JobEvent> follow(JobWatch& watch) {
    std::vector<JobEvent> events;
    while (!watch.finished()) {
      std::optional<JobEvent> event = watch.next(30s);
      if (!event) break;
      events.push_back(std::move(*event));
    }
    return events;
  }

  EventHub hub_;
  std::unique_ptr<JobStore> jobs_;
};
FOR_BOTH_DATABASES(WorkerTest);

TEST_P(WorkerTest, DrawsWhatIsAskedFor) {
  FakePainter painter;
  const auto drawing = worker(painter);
  const std::string id = submit("fox", 3);
  ASSERT_TRUE(reaches(id, JobState::done));
  const Job job = *jobs_->get(id);
  ASSERT_EQ(job.pictures.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(job.pictures[i].seed, 7 + i);
    EXPECT_EQ(job.pictures[i].mime, "image/png");
    EXPECT_EQ(job.pictures[i].visual_tokens, 16);
    EXPECT_EQ(stored(job.pictures[i]).pixels, FakePainter::picture("fox", 7 + i).pixels);
  }
  EXPECT_FALSE(job.progress);
  ASSERT_TRUE(eventually([&] { return !drawing->status().busy; }));
  const WorkerStatus status = drawing->status();
  EXPECT_EQ(status.jobs_done, 1);
  EXPECT_EQ(status.pictures, 3);
  EXPECT_EQ(status.visual_tokens, 48);
  EXPECT_EQ(status.seconds.at("denoise"), 0.75);
  EXPECT_FALSE(status.trouble);
}

TEST_P(WorkerTest, EncodesAsAskedFor) {
  FakePainter painter;
  const auto drawing = worker(painter);
  NewJob job = new_job("fox");
  job.request.format = "jpeg";
  job.request.quality = 50;
  const std::string id = jobs_->submit(job).job.id;
  ASSERT_TRUE(reaches(id, JobState::done));
  const JobPicture picture = jobs_->get(id)->pictures.at(0);
  EXPECT_EQ(picture.mime, "image/jpeg");
  EXPECT_EQ(blobs_->get(picture.blob)->substr(0, 2), "\xff\xd8");
  job.request.format = "gif";
  const std::string bad = jobs_->submit(job).job.id;
  ASSERT_TRUE(reaches(bad, JobState::failed));
  EXPECT_EQ(jobs_->get(bad)->error->kind, "usage");
}

TEST_P(WorkerTest, TellsAllOfAJobsWay) {
  FakePainter painter(10ms);
  NewJob job = new_job("fox");
  job.request.steps = 8;
  job.request.partial_images = 3;
  const std::string id = jobs_->submit(job).job.id;
  JobWatch watch(*jobs_, *blobs_, hub_, id);
  std::vector<JobState> states = {watch.next(5s)->state};  // before there is anybody to draw
  const auto drawing = worker(painter);
  std::vector<int64_t> partials;
  int64_t progress = 0, pictures = 0;
  for (const JobEvent& event : follow(watch)) {
    if (event.kind == JobEvent::Kind::state) states.push_back(event.state);
    if (event.kind == JobEvent::Kind::progress) ++progress;
    if (event.kind == JobEvent::Kind::picture) ++pictures;
    if (event.kind == JobEvent::Kind::partial) {
      partials.push_back(event.partial.number);
      const Image shown =
          decode_image({reinterpret_cast<const uint8_t*>(event.bytes->data()), event.bytes->size()}, "partial");
      const uint64_t step = static_cast<uint64_t>(2 * event.partial.number + 1);  // of 8: after steps 1, 3 and 5
      EXPECT_EQ(shown.pixels, FakePainter::picture("partial", step).pixels);
    }
  }
  EXPECT_THAT(states, ElementsAre(JobState::queued, JobState::running, JobState::done));
  EXPECT_THAT(partials, ElementsAre(0, 1, 2));
  EXPECT_GE(progress, 1);
  EXPECT_EQ(pictures, 1);
}

// As a server sees a job that a worker on another machine draws.
TEST_P(WorkerTest, AJobOfAnotherMachineIsFollowedThroughTheStore) {
  FakePainter painter(20ms);
  NewJob job = new_job("fox", "", 2);
  job.request.steps = 10;
  job.request.partial_images = 1;
  const std::string id = jobs_->submit(job).job.id;
  EventHub other_hub;
  JobWatch watch(*jobs_, *blobs_, other_hub, id, 20ms);
  const auto drawing = worker(painter, {.heartbeat = 20ms});
  int64_t progress = 0, partials = 0;
  std::vector<int64_t> pictures;
  JobState last = JobState::queued;
  for (const JobEvent& event : follow(watch)) {
    progress += event.kind == JobEvent::Kind::progress;
    partials += event.kind == JobEvent::Kind::partial;
    if (event.kind == JobEvent::Kind::picture) pictures.push_back(event.picture.index);
    if (event.kind == JobEvent::Kind::state) last = event.state;
  }
  EXPECT_GE(progress, 2);
  EXPECT_GE(partials, 1);
  EXPECT_THAT(pictures, ElementsAre(0, 1));
  EXPECT_EQ(last, JobState::done);
}

TEST_P(WorkerTest, ACancelledJobStopsWithinAStep) {
  FakePainter painter(100ms);
  const auto drawing = worker(painter, {.heartbeat = 10s});
  const std::string id = submit("fox", 1, 1000);
  ASSERT_TRUE(reaches(id, JobState::running));
  const auto began = Clock::now();
  EXPECT_EQ(jobs_->cancel(id), Cancelled::requested);
  ASSERT_TRUE(reaches(id, JobState::cancelled));
  EXPECT_LT(Clock::now() - began, 5s);  // of 100
  EXPECT_TRUE(eventually([&] { return drawing->status().jobs_cancelled == 1; }));
}

TEST_P(WorkerTest, AFaultOfTheRequestFailsItAlone) {
  FakePainter painter;
  const auto drawing = worker(painter);
  const std::string bad = submit("usage"), good = submit("fox");
  ASSERT_TRUE(reaches(good, JobState::done));
  const Job job = *jobs_->get(bad);
  EXPECT_EQ(job.state, JobState::failed);
  EXPECT_EQ(job.error->kind, "usage");
  EXPECT_EQ(job.error->message, "a bad request");
  EXPECT_TRUE(eventually([&] { return drawing->status().jobs_failed == 1; }));
}

TEST_P(WorkerTest, AFaultOfTheDeviceGoesBackToTheQueue) {
  FakePainter painter;
  const std::string id = submit("device");
  {
    const auto drawing = worker(painter);
    ASSERT_TRUE(eventually([&] { return drawing->status().trouble.has_value(); }));
    EXPECT_THAT(*drawing->status().trouble, HasSubstr("device"));
  }
  const Job job = *jobs_->get(id);
  EXPECT_EQ(job.state, JobState::queued);
  EXPECT_EQ(job.attempts, 1);
}

TEST_P(WorkerTest, LettingGoKeepsFinishedPictures) {
  FakePainter painter(20ms);
  const std::string id = submit("fox", 3, 5);
  {
    const auto drawing = worker(painter);
    ASSERT_TRUE(eventually([&] { return jobs_->get(id)->pictures.size() == 1; }));
    drawing->stop(Worker::Stop::hand_back);
    EXPECT_EQ(jobs_->get(id)->state, JobState::queued);
    EXPECT_EQ(jobs_->get(id)->attempts, 0);
  }
  const auto drawing = worker(painter);
  ASSERT_TRUE(reaches(id, JobState::done));
  for (const auto& [seed, times] : painter.drawn()) EXPECT_EQ(times, 1) << seed;
}

TEST_P(WorkerTest, StoppingAfterTheCurrentJobTakesNoOther) {
  FakePainter painter(10ms);
  const std::string first = submit("first", 2), second = submit("second");
  const auto drawing = worker(painter);
  ASSERT_TRUE(reaches(first, JobState::running));
  drawing->stop(Worker::Stop::after_current);
  EXPECT_EQ(jobs_->get(first)->state, JobState::done);
  EXPECT_EQ(jobs_->get(second)->state, JobState::queued);
}

TEST_P(WorkerTest, AWorkerThatLostItsLeaseStops) {
  FakePainter painter(20ms);
  const std::string id = submit("fox", 1, 1000);
  const auto drawing = worker(painter, {.heartbeat = 20ms});
  ASSERT_TRUE(reaches(id, JobState::running));
  // As if another machine had taken it.
  database_->transaction(Access::write, [](Connection& c) { c.run("UPDATE leases SET token = 'another'"); });
  ASSERT_TRUE(eventually([&] { return drawing->status().leases_lost == 1; }));
  EXPECT_EQ(jobs_->get(id)->state, JobState::running);
}

TEST_P(WorkerTest, PicturesAreHandedOverTogether) {
  FakePainter painter;
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(submit("fox " + std::to_string(i), 2));
  const auto drawing = worker(painter, {.batch = 4});
  for (const std::string& id : ids) ASSERT_TRUE(reaches(id, JobState::done));
  EXPECT_THAT(painter.batches(), ElementsAre(4u, 2u));
}

TEST_P(WorkerTest, EqualAdaptersAreDrawnBehindEachOther) {
  FakePainter painter;
  std::vector<std::string> ids;
  const JobLoras strong{{{"sketch", 1}}}, weak{{{"sketch", 0.5}}}, none;
  for (const JobLoras& loras : {strong, none, strong, weak, none}) {
    NewJob job = new_job("fox", "", 2);
    job.request.loras = loras;
    ids.push_back(jobs_->submit(job).job.id);
  }
  const auto drawing = worker(painter, {.batch = 5});
  for (const std::string& id : ids) ASSERT_TRUE(reaches(id, JobState::done));
  EXPECT_THAT(painter.loras(), ElementsAre(strong, none, weak));
  EXPECT_THAT(painter.batches(), ElementsAre(4u, 4u, 2u));
}

TEST_P(WorkerTest, ReferencesReachThePainter) {
  FakePainter painter;
  const Image reference = FakePainter::picture("reference", 1);
  const std::vector<uint8_t> bytes = encode_image(reference);
  NewJob job = new_job("edit");
  job.request.references = {blobs_->put({reinterpret_cast<const char*>(bytes.data()), bytes.size()})};
  const std::string good = jobs_->submit(job).job.id;
  job.request.references = {blobs_->put("no picture")};
  const std::string bad = jobs_->submit(job).job.id;
  std::vector<uint8_t> seen;
  WorkerOptions options;
  options.encode = [&](const Job&, const GenerateRequest& request, const GenerateResult&) {
    seen = request.references.at(0).pixels;
    return std::string("file");
  };
  const auto drawing = worker(painter, options);
  ASSERT_TRUE(reaches(good, JobState::done));
  EXPECT_EQ(seen, reference.pixels);
  ASSERT_TRUE(reaches(bad, JobState::failed));
  EXPECT_EQ(jobs_->get(bad)->error->kind, "usage");
}

// A disk that is full for a while: here a folder that cannot be written.
TEST_P(WorkerTest, WhatWasDrawnOutlastsADiskThatRefuses) {
  FakePainter painter(5ms);
  const auto drawing = worker(painter);
  const auto incoming = folder_ / "blobs/incoming";
  std::filesystem::remove(incoming);
  const std::string id = submit("fox");
  ASSERT_TRUE(eventually([&] { return drawing->status().trouble.has_value(); }));
  EXPECT_THAT(*drawing->status().trouble, HasSubstr("incoming"));
  EXPECT_EQ(jobs_->get(id)->state, JobState::running);
  std::filesystem::create_directory(incoming);
  ASSERT_TRUE(reaches(id, JobState::done));
  EXPECT_EQ(painter.drawn().at(7), 1);
  EXPECT_TRUE(eventually([&] { return !drawing->status().trouble; }));
}

}  // namespace
}  // namespace glmimage::serve::test
