
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/libcurl.h"
#include "core/sha256.h"
#include "serve/blob_store.h"

namespace glmimage::serve {
namespace {

constexpr size_t kLargestBlob = size_t{1} << 30;
constexpr long kConnectSeconds = 10;

struct CurlFree {
  void operator()(CURL* handle) const { libcurl().easy_cleanup(handle); }
  void operator()(curl_slist* list) const { libcurl().slist_free_all(list); }
};
using Handle = std::unique_ptr<CURL, CurlFree>;
using Headers = std::unique_ptr<curl_slist, CurlFree>;

struct Answer {
  CURLcode code = CURLE_OK;
  long status = 0;
  curl_off_t length = -1;  // of a HEAD
  std::string body;
};

struct Request {
  const char* method;
  const std::string& hash;
  std::string_view body = {};
};

size_t keep(char* data, size_t one, size_t count, void* user) {
  std::string& body = static_cast<Answer*>(user)->body;
  if (body.size() + count > kLargestBlob) return 0;  // curl ends the transfer
  body.append(data, count);
  return one * count;
}

void add(Headers& headers, const std::string& line) {
  curl_slist* longer = libcurl().slist_append(headers.get(), line.c_str());
  if (!longer) throw std::bad_alloc();
  (void)headers.release();
  headers.reset(longer);
}

class S3Blobs : public BlobBackend {
 public:
  explicit S3Blobs(S3Options options) : options_(std::move(options)) {
    libcurl();  // a missing library is told now
    while (options_.endpoint.ends_with('/')) options_.endpoint.pop_back();
  }

  void put(const std::string& hash, std::string_view bytes) override {
    expect(ask({"PUT", hash, bytes}), hash, {200, 201, 204});
  }
  std::optional<std::string> get(const std::string& hash) override {
    Answer answer = ask({"GET", hash});
    if (expect(answer, hash, {200, 404}) == 404) return {};
    return std::move(answer.body);
  }
  bool contains(const std::string& hash, int64_t bytes) override {
    const Answer answer = ask({"HEAD", hash});
    return expect(answer, hash, {200, 404}) == 200 && answer.length == bytes;
  }
  void remove(const std::string& hash) override { expect(ask({"DELETE", hash}), hash, {200, 204, 404}); }
  std::string describe() const override {
    return concat("s3://", options_.bucket, "/", options_.prefix, " at ", options_.endpoint);
  }

 private:
  long expect(const Answer& answer, const std::string& hash, std::initializer_list<long> statuses) const {
    if (answer.code != CURLE_OK) {
      fail(ErrorKind::io, describe(), ": cannot be reached: ", libcurl().easy_strerror(answer.code));
    }
    if (std::find(statuses.begin(), statuses.end(), answer.status) == statuses.end()) {
      const char* hint = answer.status == 403 ? "; are the access key and the clock right?" : "";
      fail(ErrorKind::io, describe(), ": the service answered ", answer.status, " for the blob ", hash, hint);
    }
    return answer.status;
  }

  // All four methods may be repeated: a blob never changes.
  Answer ask(const Request& request) {
    Answer answer;
    auto pause = options_.pause;
    for (int left = options_.retries; left >= 0; --left, pause *= 2) {
      answer = ask_once(request);
      const bool again = answer.code != CURLE_OK || answer.status == 429 || answer.status >= 500;
      if (!again || left == 0) break;
      std::this_thread::sleep_for(pause);
    }
    return answer;
  }

  Answer ask_once(const Request& request) {
    Answer answer;
    Handle handle = take();
    CURL* curl = handle.get();
    libcurl().easy_reset(curl);
    // The signature covers the body by its hash, which is the blob's name; of no body it is the hash of nothing.
    Headers headers;
    add(headers, "x-amz-content-sha256: " + (*request.method == 'P' ? request.hash : sha256_hex("")));
    add(headers, "Content-Type: application/octet-stream");
    if (!options_.session_token.empty()) add(headers, "x-amz-security-token: " + options_.session_token);
    const std::string url = concat(options_.endpoint, "/", options_.bucket, "/", options_.prefix, request.hash);
    const std::string sign = "aws:amz:" + options_.region + ":s3";
    const std::string keys = options_.access_key + ":" + options_.secret_key;
    set_limits(curl);
    set_option(curl, CURLOPT_URL, url.c_str());
    set_option(curl, CURLOPT_AWS_SIGV4, sign.c_str());
    set_option(curl, CURLOPT_USERPWD, keys.c_str());
    set_option(curl, CURLOPT_HTTPHEADER, headers.get());
    set_option(curl, CURLOPT_WRITEFUNCTION, keep);
    set_option(curl, CURLOPT_WRITEDATA, &answer);
    set_method(curl, request);
    answer.code = libcurl().easy_perform(curl);
    libcurl().easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    libcurl().easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &answer.length);
    give_back(std::move(handle));
    return answer;
  }

  void set_limits(CURL* curl) const {
    set_option(curl, CURLOPT_NOSIGNAL, 1L);
    // Bodies are not held back for "100 Continue". (A header "Expect:" without a value, which turns it off, is signed
    // wrongly by libcurl 7.88.)
    set_option(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L);
    set_option(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    set_trust(curl, options_.trust);
    set_option(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    set_option(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.timeout).count();
    set_option(curl, CURLOPT_LOW_SPEED_TIME, std::max<long>(1, static_cast<long>(seconds)));
  }

  static void set_method(CURL* curl, const Request& request) {
    if (*request.method == 'P') {
      set_option(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      set_option(curl, CURLOPT_POSTFIELDS, request.body.data());
    }
    if (*request.method == 'H')
      set_option(curl, CURLOPT_NOBODY, 1L);
    else
      set_option(curl, CURLOPT_CUSTOMREQUEST, request.method);
  }

  // Handles keep their connections open for the next request.
  Handle take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return Handle(libcurl().easy_init());
    Handle handle = std::move(idle_.back());
    idle_.pop_back();
    return handle;
  }
  void give_back(Handle handle) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(handle));
  }

  S3Options options_;
  std::mutex mutex_;
  std::vector<Handle> idle_;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string needed(const char* name) {
  std::string value = environment(name);
  if (value.empty()) fail(ErrorKind::usage, "the environment variable ", name, " is needed for blobs in S3");
  return value;
}

// What goes into a URL as it is.
void check_plain(const std::string& text, const std::string& where) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '/';
    if (!plain) fail(ErrorKind::usage, where, ": a bucket and its prefix are letters, digits and -_./ here");
  }
}

}  // namespace

S3Options S3Options::from_environment(const std::string& where) {
  S3Options out;
  const std::string path = where.substr(std::string("s3://").size());
  const size_t slash = path.find('/');
  out.bucket = path.substr(0, slash);
  if (slash != std::string::npos) out.prefix = path.substr(slash + 1);
  if (!out.prefix.empty() && !out.prefix.ends_with('/')) out.prefix += '/';
  if (out.bucket.empty()) fail(ErrorKind::usage, where, ": the bucket's name is missing (s3://BUCKET/PREFIX)");
  check_plain(path, where);
  out.trust = certificate_trust_from_environment();
  out.endpoint = needed("GLM_IMAGE_S3_ENDPOINT");
  if (!out.endpoint.starts_with("http://") && !out.endpoint.starts_with("https://")) {
    fail(ErrorKind::usage, "GLM_IMAGE_S3_ENDPOINT must begin with https:// or http://, not '", out.endpoint, "'");
  }
  out.access_key = needed("AWS_ACCESS_KEY_ID");
  out.secret_key = needed("AWS_SECRET_ACCESS_KEY");
  out.session_token = environment("AWS_SESSION_TOKEN");
  if (const std::string region = environment("AWS_REGION"); !region.empty()) out.region = region;
  return out;
}

std::unique_ptr<BlobBackend> open_s3_blobs(S3Options options) { return std::make_unique<S3Blobs>(std::move(options)); }

}  // namespace glmimage::serve
