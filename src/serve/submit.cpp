#include "serve/submit.h"

#include "serve/refusal.h"
#include "serve/request_log.h"

namespace glmimage::serve {
namespace {

std::optional<std::string> idempotency_key(const Request& request) {
  const std::string& key = request.header("idempotency-key");
  if (key.empty()) return std::nullopt;
  for (const char c : key) {
    if (c < 0x20 || c > 0x7e) throw Refusal(400, "the Idempotency-Key should be printable ASCII");
  }
  if (key.size() > 255) throw Refusal(400, "the Idempotency-Key is longer than 255 characters");
  return key;
}

// What the model reads: for the client's account, and fixed when the job is accepted.
void count_input(DrawRequest& draw, const ServedModel& model) {
  int64_t pictures = 0;
  for (const InputPicture& picture : draw.pictures) pictures += model.count_picture_tokens(picture.size);
  draw.job.extra["text_tokens"] = model.count_text_tokens(draw.job.prompt);
  draw.job.extra["image_tokens"] = pictures;
}

Job accepted(Submission submission) {
  switch (submission.outcome) {
    case Submission::Outcome::accepted:
    case Submission::Outcome::repeated: return std::move(submission.job);
    case Submission::Outcome::conflict: throw Refusal(409, submission.message, "", "idempotency_key_reused");
    case Submission::Outcome::lost_blob: throw Refusal(503, submission.message);
    case Submission::Outcome::busy: break;
  }
  Refusal refusal(429, submission.message);
  refusal.retry_after = submission.retry_after;
  throw refusal;
}

}  // namespace

Job submit(DrawRequest draw, const Request& request, Services& services) {
  if (services.phase != Phase::serving) {
    Refusal refusal(503, "the server is about to stop; ask again in a moment");
    refusal.retry_after = 5;
    throw refusal;
  }
  count_input(draw, services.model);
  draw.job.references.clear();
  for (const InputPicture& picture : draw.pictures) draw.job.references.push_back(services.blobs.put(picture.bytes));
  NewJob job{.kind = draw.kind,
             .owner = request.owner,
             .idempotency_key = idempotency_key(request),
             .body_hash = draw.body_hash,
             .request = draw.job,
             .owner_share = request.owner_share};
  Job out = accepted(services.jobs.submit(job));
  services.log.accepted(request, out);
  return out;
}

}  // namespace glmimage::serve
