#include "hub/retry.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <random>

#include "core/libcurl.h"

namespace glmimage::hub {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool worth_another_try(const HttpOutcome& outcome) {
  if (outcome.thrown) {
    try {
      std::rethrow_exception(outcome.thrown);
    } catch (const BadAnswer&) {
      return true;
    } catch (...) {
      return false;
    }
  }
  if (!outcome.fault.empty()) return !outcome.lasting;
  switch (outcome.head.status) {
    case 408:
    case 416:  // of a file that became shorter, or of a server that lost its place
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504: return true;
    default: return false;
  }
}

// Half of the time for sure, the other half by chance.
milliseconds scattered(milliseconds wait) {
  static std::minstd_rand generator{std::random_device{}()};
  return wait / 2 + milliseconds(std::uniform_int_distribution<int64_t>(0, wait.count() / 2)(generator));
}

// What the server has to say for itself, if it can be printed.
std::string remark(const HttpHead& head) {
  const std::string text = head.header("x-error-message").substr(0, 200);
  const bool printable = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 32 && c < 127; });
  return text.empty() || !printable ? "" : " (" + text + ")";
}

std::string unauthorised(const Asked& asked) {
  if (asked.token_variable.empty()) return "it asks for a password, which this program cannot give";
  if (asked.token_sent) return "the token in " + asked.token_variable + " is not valid, or may not read it";
  return "no such repository, or a private or gated one, which needs a token in " + asked.token_variable;
}

std::string forbidden(const Asked& asked) {
  if (asked.token_variable.empty()) return "access is refused";
  return "access is refused; if the model has conditions, accept them on its page, then set " + asked.token_variable +
         " to a token that may read it";
}

std::string missing(const HttpHead& head) {
  const std::string code = head.header("x-error-code");
  if (code == "RevisionNotFound") return "there is no such revision";
  if (code == "RepoNotFound") return "there is no such repository";
  return "it is not there; is the name right?";
}

Error status_failure(const HttpHead& head, const Asked& asked) {
  const auto error = [&](ErrorKind kind, const std::string& why) {
    return Error(kind, concat(asked.what, ": the server answers ", head.status, ": ", why, remark(head)));
  };
  switch (head.status) {
    case 401: return error(ErrorKind::usage, unauthorised(asked));
    case 403: return error(ErrorKind::usage, forbidden(asked));
    case 404:
    case 410: return error(ErrorKind::usage, missing(head));
    case 416: return error(ErrorKind::io, "it has not the range of bytes that was asked for; did the file change?");
    case 429: {
      const auto wait = retry_after(head);
      return error(ErrorKind::io, "too many requests; try again " +
                                      (wait ? concat("in ", wait->count(), " seconds") : std::string("later")));
    }
    default: break;
  }
  if (head.status >= 500) return error(ErrorKind::io, "a fault of the server; try again later");
  return error(ErrorKind::io, "which was not expected");
}

}  // namespace

std::optional<seconds> retry_after(const HttpHead& head) {
  const std::string text = head.header("retry-after");
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0) return seconds(value);
  const std::time_t date = text.empty() ? -1 : libcurl().getdate(text.c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return seconds(std::max<int64_t>(0, date - std::time(nullptr)));
}

std::optional<milliseconds> Retry::after(const HttpOutcome& outcome) {
  if (!worth_another_try(outcome) || ++failures_ >= options_.tries) return std::nullopt;
  const bool answered = outcome.fault.empty() && !outcome.thrown;
  if (const auto asked_for = answered ? retry_after(outcome.head) : std::nullopt) {
    if (*asked_for > options_.longest_retry_after) return std::nullopt;
    return std::max<milliseconds>(*asked_for, scattered(options_.first_wait));
  }
  const int doublings = std::min(failures_ - 1, 20);
  return scattered(std::min(options_.longest_wait, options_.first_wait * (int64_t{1} << doublings)));
}

bool succeeded(const HttpOutcome& outcome) {
  return outcome.fault.empty() && !outcome.thrown && outcome.head.status >= 200 && outcome.head.status < 300;
}

Error failure(const HttpOutcome& outcome, const Asked& asked) {
  if (outcome.thrown) {
    try {
      std::rethrow_exception(outcome.thrown);
    } catch (const Error& error) {
      return error;
    } catch (const std::exception& error) {
      return {ErrorKind::io, asked.what + ": " + error.what()};
    }
  }
  if (!outcome.fault.empty()) return {ErrorKind::io, asked.what + ": " + outcome.fault};
  return status_failure(outcome.head, asked);
}

std::string shown_url(const std::string& url) {
  std::string out = url.substr(0, url.find_first_of("?#"));
  const size_t host = out.find("://");
  if (host == std::string::npos) return out;
  const size_t path = out.find('/', host + 3), at = out.rfind('@', path);
  if (at != std::string::npos && at > host) out.erase(host + 3, at - host - 2);
  return out;
}

}  // namespace glmimage::hub
