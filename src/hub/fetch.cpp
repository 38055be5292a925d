#include "hub/fetch.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <optional>

#include "core/error.h"
#include "hub/answer_check.h"
#include "hub/byte_ranges.h"
#include "hub/digest.h"
#include "hub/part.h"

namespace glmimage::hub {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kMostVerifying = 2;          // digests at once; each takes a processor
constexpr int kMostUnverified = 32;        // whole files that wait for theirs, open as they are
constexpr int64_t kProgressBytes = 65536;  // so many more bytes, and earlier failures are forgotten
constexpr int kMostWrong = 2;              // whole files with the wrong content
constexpr auto kReportEvery = milliseconds(100);

enum class Ranges { unknown, answered, ignored };  // what the server does when asked for a part of a file

struct Job {
  Job(const RemoteFile& file, const RetryOptions& retries) : result{.file = file}, retry(retries) {}

  FetchedFile result;
  std::unique_ptr<Part> part;  // open from the first transfer to the end
  Retry retry;
  Ranges ranges = Ranges::unknown;
  Clock::time_point not_before;
  int active = 0, wrong = 0;
  int64_t since_failure = 0;  // bytes
  int64_t kept = 0;           // bytes on the disk before the part is opened
  bool all_there = false, done = false;
  std::future<std::string> digest;  // valid while it is computed

  const RemoteFile& file() const { return result.file; }
  int64_t on_disk() const { return done ? file().size : part ? part->there().count() : kept; }
};

struct Transfer {
  Job* job = nullptr;
  ByteRange range;       // end is -1 where nobody knows
  int64_t position = 0;  // of the next byte
  bool ranged = false;   // a Range was sent
  bool taken = false;    // the answer is the file's content
  bool doomed = false;   // to be dropped as soon as the client may be called
};

class Fetcher {
 public:
  Fetcher(HttpClient& client, const Source& source, const FetchTask& task, const FetchOptions& options,
          PullProgress& progress, const std::function<void(const FetchedFile&)>& done)
      : client_(client), source_(source), task_(task), options_(options), progress_(progress), done_(done) {
    for (const RemoteFile& file : task.files) {
      Job& job = jobs_.emplace_back(file, options.retries);
      job.kept = Part::kept_bytes(task.folder / file.name, file);
      job.result.resumed = job.kept;
    }
  }

  void run() {
    try {
      while (first_open_ < jobs_.size()) {
        if (progress_.cancelled()) fail(ErrorKind::cancelled, "cancelled");
        start_transfers();
        for (auto& [id, outcome] : client_.run(milliseconds(verifying_ > 0 ? 10 : 100))) finish(id, outcome);
        drop_doomed();
        tend_jobs();
        report();
      }
    } catch (...) {
      leave();
      throw;
    }
  }

 private:
  void start_transfers() {
    const auto now = Clock::now();
    if (now < pause_until_) return;
    const auto room = [&] {
      return transfers_.size() < static_cast<size_t>(options_.parallel) && unverified_ < kMostUnverified;
    };
    for (size_t i = first_open_; i < jobs_.size() && room(); ++i) {
      Job& job = jobs_[i];
      if (job.done || job.all_there || now < job.not_before) continue;
      while (room()) {
        const std::optional<ByteRange> next = next_range(job);
        if (!next) break;
        start(job, *next);
      }
    }
  }

  // What of a file to ask for next. As long as nobody knows whether the server answers ranges, one transfer finds out.
  std::optional<ByteRange> next_range(Job& job) {
    if (!job.part) job.part = std::make_unique<Part>(task_.folder / job.file().name, job.file());
    const int64_t size = job.file().size;
    take_stock(job);
    if (job.all_there || (job.active > 0 && job.ranges != Ranges::answered)) return std::nullopt;
    if (!job.file().can_go_on() || (job.ranges == Ranges::ignored)) {
      forget(job);
      return ByteRange{0, size};
    }
    ByteRanges taken = job.part->there();
    for (const auto& [id, transfer] : transfers_) {
      if (transfer->job == &job && !transfer->doomed) taken.add(transfer->range);
    }
    const ByteRange gap = taken.first_gap(size, options_.piece_bytes);
    if (gap.size() == 0) return std::nullopt;
    return gap;
  }

  // Whether all of a file is there, to be verified.
  void take_stock(Job& job) {
    if (job.all_there || job.active > 0 || job.part->there().count() != job.file().size) return;
    job.all_there = true;
    ++unverified_;
  }

  static void forget(Job& job) {
    job.part->forget();
    job.result.resumed = 0;
  }

  void start(Job& job, ByteRange range) {
    auto transfer = std::make_unique<Transfer>();
    transfer->job = &job;
    transfer->range = range;
    transfer->position = range.begin;
    transfer->ranged = range != ByteRange{0, job.file().size};
    HttpRequest request{.url = job.file().url, .headers = source_.secret_headers(), .on_head = {}, .on_body = {}};
    request.headers.push_back("Accept-Encoding: identity");
    if (transfer->ranged) {
      request.headers.push_back(concat("Range: bytes=", range.begin, "-", range.end - 1));
      // A digest tells in the end what a validator would tell now, and the servers of one hub do not always agree on
      // validators; without a digest they are all there is.
      if (!job.file().has_digest()) request.headers.push_back("If-Range: " + job.file().validator);
    }
    Transfer* raw = transfer.get();
    request.on_head = [this, raw](const HttpHead& head) { begin_answer(*raw, head); };
    request.on_body = [this, raw](std::string_view bytes) { take_bytes(*raw, bytes); };
    ++job.active;
    transfers_.emplace(client_.start(std::move(request)), std::move(transfer));
  }

  void begin_answer(Transfer& transfer, const HttpHead& head) {
    if (transfer.doomed || (head.status != 200 && head.status != 206)) return;
    Job& job = *transfer.job;
    check_identity(head, job.file(), task_.commit);
    if (head.status == 206) {
      if (!transfer.ranged) throw BadAnswer("the server sends a part where the whole was asked for");
      check_content_range(head, transfer.range, job.file().size);
      job.ranges = Ranges::answered;
    } else if (transfer.ranged) {
      take_whole(transfer);
    }
    if (transfer.range.end >= 0) check_length(head, transfer.range.size());
    transfer.taken = true;
  }

  // The server ignores ranges: this answer is the whole file, and all else of it is given up.
  void take_whole(Transfer& transfer) {
    Job& job = *transfer.job;
    for (auto& [id, other] : transfers_)
      other->doomed = other->doomed || (other->job == &job && other.get() != &transfer);
    forget(job);
    job.ranges = Ranges::ignored;
    transfer.range = {0, job.file().size};
    transfer.position = 0;
  }

  void take_bytes(Transfer& transfer, std::string_view bytes) {
    if (transfer.doomed || !transfer.taken) return;
    Job& job = *transfer.job;
    const auto count = static_cast<int64_t>(bytes.size());
    if (transfer.range.end >= 0 && count > transfer.range.end - transfer.position) {
      throw BadAnswer(concat("the server sends more than the ", transfer.range.size(), " bytes that were expected"));
    }
    job.part->write(transfer.position, bytes);
    transfer.position += count;
    job.result.fetched += count;
    fetched_ += count;
    job.since_failure += count;
    if (job.since_failure >= kProgressBytes) job.retry.progressed();
  }

  void finish(HttpClient::Id id, HttpOutcome& outcome) {
    const auto at = transfers_.find(id);
    const std::unique_ptr<Transfer> transfer = std::move(at->second);
    transfers_.erase(at);
    Job& job = *transfer->job;
    --job.active;
    if (transfer->doomed) return;
    const bool short_of = transfer->range.end >= 0 && transfer->position < transfer->range.end;
    if (succeeded(outcome) && transfer->taken && !short_of) {
      if (job.file().size < 0) job.result.file.size = transfer->position;
      take_stock(job);
      return;
    }
    if (succeeded(outcome)) {
      outcome.thrown = std::make_exception_ptr(
          BadAnswer(concat("the answer ended at byte ", transfer->position, " of ", transfer->range.end)));
    }
    try_again(job, outcome);
  }

  void try_again(Job& job, const HttpOutcome& outcome) {
    const auto now = Clock::now();
    if (outcome.head.status == 416 && job.active == 0) forget(job);
    if (now < job.not_before) return;  // another transfer of this file failed just now: that counts once
    const Asked asked = source_.asked(job.file().name + " (" + shown_url(job.file().url) + ")");
    const auto wait = job.retry.after(outcome);
    if (!wait) throw failure(outcome, asked);
    job.since_failure = 0;
    job.not_before = now + *wait;
    if (retry_after(outcome.head)) pause_until_ = std::max(pause_until_, job.not_before);  // it is meant for all
    progress_.note(concat(failure(outcome, asked).what(), "; again in ",
                          std::max<int64_t>(1, std::chrono::ceil<std::chrono::seconds>(*wait).count()), " s"));
  }

  void drop_doomed() {
    for (auto at = transfers_.begin(); at != transfers_.end();) {
      if (!at->second->doomed) {
        ++at;
        continue;
      }
      client_.drop(at->first);
      --at->second->job->active;
      at = transfers_.erase(at);
    }
  }

  void tend_jobs() {
    for (size_t i = first_open_; i < jobs_.size(); ++i) {
      Job& job = jobs_[i];
      if (job.done || !job.part) continue;
      if (job.digest.valid()) {
        if (job.digest.wait_for(milliseconds(0)) == std::future_status::ready) judge(job);
      } else if (job.all_there) {
        if (verifying_ < kMostVerifying) verify(job);
      } else {
        job.part->save(Part::When::at_times);
      }
    }
    while (first_open_ < jobs_.size() && jobs_[first_open_].done) ++first_open_;
  }

  void verify(Job& job) {
    job.part->save(Part::When::now);
    ++verifying_;
    const DigestKind kind = job.file().git_sha1.empty() ? DigestKind::sha256 : DigestKind::git_sha1;
    job.digest = std::async(std::launch::async, [this, kind, part = job.part.get()] {
      part->sync();
      return file_digest(part->path(), kind, [this] { return leaving_ || progress_.cancelled(); });
    });
  }

  void judge(Job& job) {
    --verifying_;
    --unverified_;
    const std::string digest = job.digest.get();
    RemoteFile& file = job.result.file;
    const std::string& expected = file.git_sha1.empty() ? file.sha256 : file.git_sha1;
    if (!file.has_digest()) file.sha256 = digest;
    if (expected.empty() || digest == expected) {
      job.part->commit();
      job.part.reset();
      job.done = true;
      ++files_done_;
      done_(job.result);
      return;
    }
    forget(job);
    job.all_there = false;
    job.ranges = Ranges::unknown;
    const std::string fault =
        concat(file.name, ": what came has the digest ", digest, " where ", expected, " was listed");
    if (++job.wrong >= kMostWrong) {
      fail(ErrorKind::io, fault, ", twice; it is not kept. Is the server, or something in between, at fault?");
    }
    progress_.note(fault + "; it is fetched once more");
  }

  void report() {
    const auto now = Clock::now();
    if (now - reported_ < kReportEvery && first_open_ < jobs_.size()) return;
    reported_ = now;
    PullStatus status{.phase = PullPhase::fetch, .fetched = fetched_, .files_done = files_done_};
    status.files = static_cast<int64_t>(jobs_.size());
    for (const Job& job : jobs_) {
      status.done += job.on_disk();
      status.total += std::max<int64_t>(job.file().size, job.on_disk());
    }
    progress_.report(status);
  }

  // Something ends the work: transfers stop, and what is there is noted down. The fault that ends it is told, not those
  // of the tidying.
  void leave() noexcept {
    leaving_ = true;
    for (auto& [id, transfer] : transfers_) client_.drop(id);
    transfers_.clear();
    for (Job& job : jobs_) {
      try {
        if (job.digest.valid()) job.digest.wait();
        if (job.part) job.part->save(Part::When::now);
      } catch (...) {
      }
    }
  }

  HttpClient& client_;
  const Source& source_;
  const FetchTask& task_;
  const FetchOptions& options_;
  PullProgress& progress_;
  const std::function<void(const FetchedFile&)>& done_;
  std::deque<Job> jobs_;
  size_t first_open_ = 0;  // jobs before it are done
  std::map<HttpClient::Id, std::unique_ptr<Transfer>> transfers_;
  Clock::time_point pause_until_, reported_;
  int verifying_ = 0, unverified_ = 0;
  int64_t fetched_ = 0, files_done_ = 0;
  std::atomic<bool> leaving_{false};
};

}  // namespace

void fetch_files(HttpClient& client, const Source& source, const FetchTask& task, const FetchOptions& options,
                 PullProgress& progress, const std::function<void(const FetchedFile&)>& done) {
  Fetcher(client, source, task, options, progress, done).run();
}

}  // namespace glmimage::hub
