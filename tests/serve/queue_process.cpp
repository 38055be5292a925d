// A server without HTTP and without a model, which tests kill at any moment.
//   queue_process submit DATABASE BLOBS COUNT       submits jobs 0 … COUNT-1, each with its own idempotency key and a
//                                                   reference picture; a line on standard error for each one accepted
//   queue_process work DATABASE BLOBS STEP_MS       draws until it is killed
//   queue_process die DATABASE BLOBS                draws, and dies of the first picture
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/encode_image.h"
#include "core/error.h"
#include "serve/fake_painter.h"
#include "serve/janitor.h"
#include "serve/worker.h"

namespace glmimage::serve::test {
namespace {

using namespace std::chrono_literals;

struct Stores {
  explicit Stores(char** argv)
      : database(Database::open(argv[2])), backend(open_blobs(argv[3])), blobs(*database, *backend) {}
  std::unique_ptr<Database> database;
  std::unique_ptr<BlobBackend> backend;
  BlobStore blobs;
  // Processes are killed at random: no job is to be taken for poison.
  JobStore jobs{*database, {.max_queued = 1'000'000, .max_attempts = 1'000'000}};
};

void submit(Stores& stores, int count) {
  const std::vector<uint8_t> bytes = encode_image(FakePainter::picture("reference", 0));
  for (int i = 0; i < count; ++i) {
    NewJob job;
    job.kind = "edit";
    job.idempotency_key = "job " + std::to_string(i);
    job.body_hash = *job.idempotency_key;
    job.request.prompt = "fox " + std::to_string(i);
    job.request.seed = static_cast<uint64_t>(100 * i);
    job.request.count = 1 + i % 3;
    job.request.steps = 3;
    job.request.references = {stores.blobs.put({reinterpret_cast<const char*>(bytes.data()), bytes.size()})};
    const Submission answer = stores.jobs.submit(job);
    if (!answer.ok()) fail(ErrorKind::internal, answer.message);
    std::fprintf(stderr, "accepted %s\n", answer.job.id.c_str());
  }
}

class Deadly : public Painter {
  void draw(std::span<DrawTask>, const JobLoras&) override { ::raise(SIGKILL); }
};

void work(Stores& stores, Painter& painter) {
  EventHub hub;
  // Blobs that no job refers to yet are cleared away at once: nothing that is needed may depend on the grace time but
  // what is between put and submit, for which a second is plenty here.
  Janitor janitor(stores.jobs, stores.blobs, {.blob_grace = 1s, .interval = 50ms});
  Worker worker({.jobs = stores.jobs, .blobs = stores.blobs, .hub = hub, .painter = painter},
                {.lease = 2s, .heartbeat = 50ms, .poll = 20ms});
  std::fprintf(stderr, "working\n");
  ::pause();
}

int run(int argc, char** argv) {
  ::signal(SIGXFSZ, SIG_IGN);
  if (argc < 4) return 2;
  const std::string what = argv[1];
  try {
    Stores stores(argv);
    if (what == "submit" && argc == 5) {
      submit(stores, std::atoi(argv[4]));
    } else if (what == "work" && argc == 5) {
      FakePainter painter(std::chrono::milliseconds(std::atoi(argv[4])));
      work(stores, painter);
    } else if (what == "die") {
      Deadly painter;
      work(stores, painter);
    } else {
      return 2;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace glmimage::serve::test

int main(int argc, char** argv) { return glmimage::serve::test::run(argc, argv); }
