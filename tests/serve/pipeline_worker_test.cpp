// A worker with the real pipeline and the smallest model.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "core/encode_image.h"
#include "serve/encode_picture.h"
#include "serve/job_watch.h"
#include "serve/pipeline_painter.h"
#include "serve/store_fixture.h"
#include "serve/worker.h"

namespace glmimage::serve::test {
namespace {

using namespace std::chrono_literals;

class PipelineWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto folder = glmimage::test::scratch_folder();
    database_ = Database::open((folder / "queue.sqlite").string());
    backend_ = open_disk_blobs((folder / "blobs").string());
    blobs_.emplace(*database_, *backend_);
    jobs_.emplace(*database_);
  }
  static PipelineOptions options() {
    PipelineOptions options;
    options.model = glmimage::test::golden("tiny_a/checkpoint");
    return options;
  }
  static const Pipeline& pipeline() {
    static const Pipeline pipeline = Pipeline::open(options());
    return pipeline;
  }
  NewJob small_job(int64_t count, int64_t steps) {
    NewJob job = new_job("a sign with \"OK\"", "", count);
    job.request.width = job.request.height = 64;
    job.request.steps = steps;
    return job;
  }
  // The job at its end.
  Job wait_for(const std::string& id) {
    JobWatch watch(*jobs_, *blobs_, hub_, id);
    while (!watch.finished()) {
      if (!watch.next(20s)) break;
    }
    return *jobs_->get(id);
  }

  PipelinePainter painter_{options(), std::make_shared<LoraCatalog>()};
  EventHub hub_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobBackend> backend_;
  std::optional<BlobStore> blobs_;
  std::optional<JobStore> jobs_;
};

TEST_F(PipelineWorkerTest, DrawsWhatThePipelineDrawsAlone) {
  const Image reference{.width = 64, .height = 64, .pixels = std::vector<uint8_t>(64 * 64 * 3, 90)};
  const std::vector<uint8_t> file = encode_image(reference);
  NewJob job = small_job(2, 2);
  job.request.references = {blobs_->put({reinterpret_cast<const char*>(file.data()), file.size()})};
  const std::string id = jobs_->submit(job).job.id;
  const Worker worker({.jobs = *jobs_, .blobs = *blobs_, .hub = hub_, .painter = painter_});
  const Job done = wait_for(id);
  ASSERT_EQ(done.state, JobState::done) << (done.error ? done.error->message : "");
  for (int64_t i = 0; i < 2; ++i) {
    GenerateRequest request = picture_request(job.request, i);
    request.references = {reference};
    const GenerateResult alone = pipeline().generate(request);
    EXPECT_EQ(blobs_->get(done.pictures[static_cast<size_t>(i)].blob), encode_picture(alone.image, job.request));
    EXPECT_EQ(done.pictures[static_cast<size_t>(i)].visual_tokens, alone.visual_tokens);
  }
}

// In bfloat16 the ids of several pictures are drawn as one batch.
TEST_F(PipelineWorkerTest, PicturesDrawnTogetherAreThoseDrawnAlone) {
  PipelineOptions options = PipelineWorkerTest::options();
  options.dtype = at::kBFloat16;
  options.largest.batch = 4;
  PipelinePainter painter(options, std::make_shared<LoraCatalog>());
  const Pipeline& narrow = painter.pipeline();
  const NewJob three = small_job(3, 2);
  NewJob refused = small_job(1, 5000);
  const std::string id = jobs_->submit(three).job.id, bad = jobs_->submit(refused).job.id;
  const Worker worker({.jobs = *jobs_, .blobs = *blobs_, .hub = hub_, .painter = painter}, {.batch = 4});
  const Job done = wait_for(id);
  ASSERT_EQ(done.state, JobState::done) << (done.error ? done.error->message : "");
  EXPECT_EQ(wait_for(bad).state, JobState::failed);
  for (int64_t i = 0; i < 3; ++i) {
    const GenerateResult alone = narrow.generate(picture_request(three.request, i));
    EXPECT_EQ(blobs_->get(done.pictures[static_cast<size_t>(i)].blob), encode_picture(alone.image, three.request)) << i;
  }
}

TEST_F(PipelineWorkerTest, PartialPicturesAreThePipelinesEstimates) {
  NewJob job = small_job(1, 6);
  job.request.partial_images = 2;
  const std::string id = jobs_->submit(job).job.id;
  JobWatch watch(*jobs_, *blobs_, hub_, id);
  std::vector<std::string> seen;
  bool tokens = false;
  {
    const Worker worker({.jobs = *jobs_, .blobs = *blobs_, .hub = hub_, .painter = painter_});
    while (auto event = watch.next(20s)) {
      if (event->kind == JobEvent::Kind::partial) seen.push_back(*event->bytes);
      tokens = tokens || (event->kind == JobEvent::Kind::progress && event->progress.stage == Stage::visual_tokens);
    }
  }
  std::vector<std::string> expected;
  RequestObserver observer;
  observer.preview = [&](int64_t step, const Image& picture) {
    if (step != 1 && step != 3) return;
    const std::vector<uint8_t> png = encode_image(picture);
    expected.emplace_back(png.begin(), png.end());
  };
  pipeline().generate(picture_request(job.request, 0), observer);
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_TRUE(tokens);
}

TEST_F(PipelineWorkerTest, CancellingStopsThePipelineWithinAStep) {
  const std::string id = jobs_->submit(small_job(1, 1000)).job.id;
  const Worker worker({.jobs = *jobs_, .blobs = *blobs_, .hub = hub_, .painter = painter_});
  JobWatch watch(*jobs_, *blobs_, hub_, id);
  while (auto event = watch.next(20s)) {
    if (event->kind == JobEvent::Kind::progress && event->progress.stage == Stage::denoise) break;
  }
  const auto began = std::chrono::steady_clock::now();
  jobs_->cancel(id);
  EXPECT_EQ(wait_for(id).state, JobState::cancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(PipelineWorkerTest, ARequestThePipelineRefusesFails) {
  NewJob job = small_job(1, 5000);  // past the most steps there are
  const std::string id = jobs_->submit(job).job.id;
  const Worker worker({.jobs = *jobs_, .blobs = *blobs_, .hub = hub_, .painter = painter_});
  const Job failed = wait_for(id);
  EXPECT_EQ(failed.state, JobState::failed);
  EXPECT_EQ(failed.error->kind, "usage");
}

TEST(PartialStepsTest, AreSpreadEvenlyBeforeTheEnd) {
  EXPECT_EQ(partial_steps(50, 3), (std::vector<int64_t>{11, 24, 36}));
  EXPECT_EQ(partial_steps(4, 3), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(partial_steps(2, 3), (std::vector<int64_t>{0}));
  EXPECT_TRUE(partial_steps(1, 3).empty());
  EXPECT_TRUE(partial_steps(50, 0).empty());
}

}  // namespace
}  // namespace glmimage::serve::test
