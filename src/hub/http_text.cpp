#include "hub/http_text.h"

namespace glmimage::hub {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// The head was all that was wanted.
struct Enough {};

void stop_if(const Cancelled& cancelled) {
  if (cancelled && cancelled()) fail(ErrorKind::cancelled, "cancelled");
}

HttpOutcome get_once(HttpClient& client, const TextRequest& request, std::string& body, const Cancelled& cancelled) {
  body.clear();
  const HttpClient::Id id = client.start(
      {.url = request.url, .headers = request.headers, .on_head = {}, .on_body = [&](std::string_view bytes) {
         if (request.head_only) throw Enough{};
         if (body.size() + bytes.size() > request.most_bytes) {
           fail(ErrorKind::io, request.asked.what, ": the answer is longer than ", request.most_bytes,
                " bytes; is this the right place?");
         }
         body += bytes;
       }});
  try {
    for (;;) {
      stop_if(cancelled);
      for (auto& [ended, outcome] : client.run(milliseconds(100))) {
        if (ended != id) continue;
        if (request.head_only && outcome.head.status >= 200 && outcome.head.status < 300) outcome.thrown = nullptr;
        return std::move(outcome);
      }
    }
  } catch (...) {
    client.drop(id);
    throw;
  }
}

}  // namespace

TextAnswer get_text(HttpClient& client, const TextRequest& request, const RetryOptions& retries,
                    const Cancelled& cancelled) {
  Retry retry(retries);
  for (;;) {
    TextAnswer answer;
    HttpOutcome outcome = get_once(client, request, answer.body, cancelled);
    if (succeeded(outcome)) {
      answer.head = std::move(outcome.head);
      return answer;
    }
    const auto wait = retry.after(outcome);
    if (!wait) throw failure(outcome, request.asked);
    for (const auto until = Clock::now() + *wait; Clock::now() < until;) {
      stop_if(cancelled);
      client.run(std::min<milliseconds>(std::chrono::ceil<milliseconds>(until - Clock::now()), milliseconds(100)));
    }
  }
}

}  // namespace glmimage::hub
