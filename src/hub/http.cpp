#include "hub/http.h"

#include <signal.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <mutex>

#include "core/error.h"
#include "core/libcurl.h"

namespace glmimage::hub {
namespace {

constexpr long kSlowest = 512;              // bytes a second
constexpr size_t kMostHeaderBytes = 65536;  // of one answer

// A server that hangs up under TLS must not end the program: OpenSSL writes without asking for no signal.
void ignore_broken_pipes() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction pipe = {};
    if (::sigaction(SIGPIPE, nullptr, &pipe) == 0 && pipe.sa_handler == SIG_DFL) ::signal(SIGPIPE, SIG_IGN);
  });
}

// What trying again cannot mend.
bool is_lasting(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_OUT_OF_MEMORY: return true;
    default: return false;
  }
}

std::string find(const std::map<std::string, std::string>& headers, const std::string& name) {
  const auto at = headers.find(name);
  return at == headers.end() ? "" : at->second;
}

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

}  // namespace

std::string HttpHead::header(const std::string& name) const { return find(headers, name); }
std::string HttpHead::first_header(const std::string& name) const { return find(first_headers, name); }

int64_t HttpHead::length() const {
  const std::string text = header("content-length");
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

struct HttpClient::Transfer {
  Id id = 0;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  HttpRequest request;
  HttpOutcome outcome;
  size_t header_bytes = 0;
  int hops = 0;
  bool head_told = false;
  char error[CURL_ERROR_SIZE] = "";

  ~Transfer() {
    libcurl().easy_cleanup(easy);
    libcurl().slist_free_all(headers);
  }

  // Runs `work`; what it throws is kept for the outcome.
  template <typename Work>
  bool guarded(const Work& work) {
    try {
      work();
      return true;
    } catch (...) {
      outcome.thrown = std::current_exception();
      return false;
    }
  }

  void take_header(std::string_view line) {
    HttpHead& head = outcome.head;
    if (line.starts_with("HTTP/")) {
      if (++hops == 2) head.first_headers = head.headers;
      head.headers.clear();
      header_bytes = 0;
      return;
    }
    header_bytes += line.size();
    if (header_bytes > kMostHeaderBytes) fail(ErrorKind::io, "the server sends more than 64 KiB of headers");
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    std::string name = trimmed(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    head.headers[name] = trimmed(line.substr(colon + 1));
  }

  void tell_head() {
    if (head_told) return;
    head_told = true;
    long status = 0;
    libcurl().easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    outcome.head.status = static_cast<int>(status);
    if (hops < 2) outcome.head.first_headers = outcome.head.headers;
    if (status != 0 && request.on_head) request.on_head(outcome.head);
  }

  static size_t on_header(char* data, size_t size, size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    return transfer->guarded([&] { transfer->take_header({data, size * count}); }) ? size * count : 0;
  }

  static size_t on_body(char* data, size_t size, size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    const bool fine = transfer->guarded([&] {
      transfer->tell_head();
      if (transfer->request.on_body) transfer->request.on_body({data, size * count});
    });
    // Any number but the right one ends the transfer; of nothing at all 0 would be the right one.
    return fine ? size * count : CURL_WRITEFUNC_ERROR;
  }

  void finish(CURLcode code) {
    if (code == CURLE_OK && !outcome.thrown) guarded([&] { tell_head(); });
    if (outcome.thrown) return;
    if (code == CURLE_OK) return;
    long status = 0;
    libcurl().easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    outcome.head.status = static_cast<int>(status);
    outcome.fault = error[0] ? error : libcurl().easy_strerror(code);
    outcome.lasting = is_lasting(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
      outcome.fault += "; a certificate authority of your own is named by CURL_CA_BUNDLE or SSL_CERT_FILE";
    }
  }
};

struct HttpClient::Multi {
  HttpOptions options;
  CURLM* handle = nullptr;
  Id last_id = 0;
  std::map<Id, std::unique_ptr<Transfer>> transfers;

  ~Multi() {
    for (auto& [id, transfer] : transfers) libcurl().multi_remove_handle(handle, transfer->easy);
    transfers.clear();
    libcurl().multi_cleanup(handle);
  }

  void set_up(Transfer& transfer) const {
    CURL* easy = transfer.easy;
    for (const std::string& header : transfer.request.headers) {
      transfer.headers = libcurl().slist_append(transfer.headers, header.c_str());
    }
    static const std::string agent = std::string("glm-image/") + GLM_IMAGE_VERSION;
    const bool encrypted = transfer.request.url.starts_with("https:");
    set_option(easy, CURLOPT_URL, transfer.request.url.c_str());
    set_option(easy, CURLOPT_HTTPHEADER, transfer.headers);
    set_option(easy, CURLOPT_USERAGENT, agent.c_str());
    set_option(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set_option(easy, CURLOPT_REDIR_PROTOCOLS_STR, encrypted ? "https" : "http,https");
    set_option(easy, CURLOPT_FOLLOWLOCATION, 1L);
    set_option(easy, CURLOPT_MAXREDIRS, 10L);
    set_option(easy, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.timeout.count()));
    set_option(easy, CURLOPT_LOW_SPEED_LIMIT, kSlowest);
    set_option(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.timeout.count()));
    set_option(easy, CURLOPT_NOSIGNAL, 1L);
    set_option(easy, CURLOPT_QUICK_EXIT, 1L);  // not to wait for a name server when the user wants to leave
    set_option(easy, CURLOPT_BUFFERSIZE, 262144L);
    set_option(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's headers are not the server's
    set_option(easy, CURLOPT_ERRORBUFFER, transfer.error);
    set_option(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set_option(easy, CURLOPT_HEADERDATA, &transfer);
    set_option(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set_option(easy, CURLOPT_WRITEDATA, &transfer);
    set_option(easy, CURLOPT_PRIVATE, &transfer);
    set_trust(easy, options.trust);
  }
};

HttpClient::HttpClient(const HttpOptions& options) : multi_(std::make_unique<Multi>()) {
  ignore_broken_pipes();
  multi_->options = options;
  multi_->handle = libcurl().multi_init();
  if (!multi_->handle) fail(ErrorKind::out_of_memory, "libcurl has no memory");
  libcurl().multi_setopt(multi_->handle, CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(options.connections));
  // Over one HTTP/2 connection ranges would share one congestion window, which is what asking in parallel is to avoid.
  libcurl().multi_setopt(multi_->handle, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

HttpClient::~HttpClient() = default;

HttpClient::Id HttpClient::start(HttpRequest request) {
  auto transfer = std::make_unique<Transfer>();
  transfer->easy = libcurl().easy_init();
  if (!transfer->easy) fail(ErrorKind::out_of_memory, "libcurl has no memory");
  transfer->id = ++multi_->last_id;
  transfer->request = std::move(request);
  multi_->set_up(*transfer);
  if (libcurl().multi_add_handle(multi_->handle, transfer->easy) != CURLM_OK) {
    fail(ErrorKind::internal, "libcurl does not take a transfer");
  }
  const Id id = transfer->id;
  multi_->transfers.emplace(id, std::move(transfer));
  return id;
}

void HttpClient::drop(Id id) {
  const auto at = multi_->transfers.find(id);
  if (at == multi_->transfers.end()) return;
  libcurl().multi_remove_handle(multi_->handle, at->second->easy);
  multi_->transfers.erase(at);
}

std::vector<std::pair<HttpClient::Id, HttpOutcome>> HttpClient::run(std::chrono::milliseconds wait) {
  int running = 0;
  libcurl().multi_perform(multi_->handle, &running);
  if (running > 0 || multi_->transfers.empty()) {
    libcurl().multi_poll(multi_->handle, nullptr, 0, static_cast<int>(wait.count()), nullptr);
    libcurl().multi_perform(multi_->handle, &running);
  }
  std::vector<std::pair<Id, HttpOutcome>> ended;
  int left = 0;
  while (CURLMsg* message = libcurl().multi_info_read(multi_->handle, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Transfer* transfer = nullptr;
    const CURLcode code = message->data.result;
    libcurl().easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    transfer->finish(code);
    ended.emplace_back(transfer->id, std::move(transfer->outcome));
    drop(ended.back().first);
  }
  return ended;
}

}  // namespace glmimage::hub
