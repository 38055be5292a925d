#include "serve/connection.h"

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <exception>
#include <optional>
#include <type_traits>

#include "core/error.h"
#include "serve/request_id.h"

namespace glmimage::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kClientLeft = 499;  // nginx's number for it, in logs and metrics only

// Runs a function on a handler's thread, while this fiber waits. Its exceptions come back here.
template <typename Function>
auto run_elsewhere(Hall& hall, asio::yield_context yield, Function function) {
  std::optional<std::invoke_result_t<Function>> result;
  std::exception_ptr fault;
  asio::async_initiate<asio::yield_context, void()>(
      [&](auto handler) {
        asio::post(hall.handlers, [&, handler = std::move(handler)]() mutable {
          try {
            result.emplace(function());
          } catch (...) {
            fault = std::current_exception();
          }
          asio::post(hall.io, std::move(handler));
        });
      },
      yield);
  if (fault) std::rethrow_exception(fault);
  return std::move(*result);
}

// What wakes a connection that waits for its live response. Outlives the connection where a waker still holds it.
struct Wake {
  explicit Wake(asio::io_context& io) : timer(io) {}
  void set() {
    ready = true;
    timer.cancel();
  }
  asio::steady_timer timer;
  bool ready = false, client_left = false;
};

// Gives back a body's share of the bytes in flight.
class Share {
 public:
  explicit Share(Hall& hall) : hall_(hall) {}
  ~Share() { hall_.bodies_in_flight -= bytes_; }
  Share(const Share&) = delete;
  bool take(uint64_t bytes) {
    if (hall_.bodies_in_flight + bytes > hall_.options.bodies_in_flight) return false;
    hall_.bodies_in_flight += bytes;
    bytes_ += bytes;
    return true;
  }

 private:
  Hall& hall_;
  uint64_t bytes_ = 0;
};

// Status and sentence of a fault in what a client sent; status 0: the connection is gone.
std::pair<int, std::string> fault_of(const error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return {431, "the header is larger than this server takes"};
  if (error == http::error::body_limit) return {413, "the body is larger than this request may be"};
  if (error == beast::error::timeout) return {408, "the request did not arrive in time"};
  if (error == http::error::bad_version) return {505, "this server speaks HTTP/1.1"};
  if (error.category() == make_error_code(http::error::bad_method).category() && error != http::error::end_of_stream &&
      error != http::error::partial_message) {
    return {400, "this is no HTTP request: " + error.message()};
  }
  return {0, ""};
}

template <typename Stream>
class HttpConnection : public std::enable_shared_from_this<HttpConnection<Stream>> {
 public:
  HttpConnection(Stream stream, Hall& hall, asio::yield_context yield)
      : stream_(std::move(stream)), hall_(hall), yield_(yield), buffer_(64 << 10) {
    error_code ignored;
    const auto peer = lowest().socket().remote_endpoint(ignored);
    if (!ignored) peer_ = peer.address().to_string();
  }

  void serve() {
    if (!handshake()) return;
    while (!close_ && !hall_.draining) {
      if (!first_byte()) break;
      serve_request();
    }
    say_goodbye();
  }

 private:
  using Body = http::string_body;

  beast::tcp_stream& lowest() { return beast::get_lowest_layer(stream_); }
  asio::yield_context token() { return yield_[error_]; }
  template <typename Function>
  auto elsewhere(Function function) {
    return run_elsewhere(hall_, yield_, std::move(function));
  }
  void deadline(milliseconds time, uint64_t bytes = 0) {
    lowest().expires_after(time + milliseconds(bytes * 1000 / hall_.options.slowest_bytes_per_second));
  }

  bool handshake() {
    if constexpr (!std::is_same_v<Stream, beast::tcp_stream>) {
      deadline(hall_.options.header);
      stream_.async_handshake(asio::ssl::stream_base::server, token());
      return !error_;
    }
    return true;
  }

  // Waits for the next request; false when none comes.
  bool first_byte() {
    if (buffer_.size() > 0) return true;
    hall_.idle[this] = [this] { lowest().cancel(); };
    deadline(hall_.options.idle);
    const size_t count = stream_.async_read_some(buffer_.prepare(4096), token());
    hall_.idle.erase(this);
    buffer_.commit(count);
    return !error_;
  }

  void serve_request() {
    began_ = Clock::now();
    sent_ = 0;
    Request request;
    request.id = new_request_id();
    request.peer = peer_;
    request.over_tls = !std::is_same_v<Stream, beast::tcp_stream>;
    Share share(hall_);
    std::optional<Answer> answer = receive(request, share);
    if (!answer) {  // the connection broke off
      close_ = true;
      return;
    }
    int status = 0;
    if (Response* response = std::get_if<Response>(&*answer)) {
      status = send(request, *response) ? response->status : kClientLeft;
    } else {
      status = serve_live(request, *std::get<std::unique_ptr<LiveResponse>>(*answer));
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    hall_.application.finished(request, status, seconds, sent_);
  }

  // Reads a request and has it handled. Nothing when there is nobody left to answer.
  std::optional<Answer> receive(Request& request, Share& share) {
    http::request_parser<http::empty_body> head;
    head.header_limit(hall_.options.header_bytes);
    head.body_limit(boost::none);  // checked below, when the route is known
    deadline(hall_.options.header);
    http::async_read_header(stream_, buffer_, head, token());
    if (error_) return refusal(request, fault_of(error_));
    keep_alive_ = head.get().keep_alive();
    version_ = head.get().version();
    if (!understand(head.get(), request)) {
      return refusal(request, {400, "the request's target is no path of a URL: " + request.target.substr(0, 200)});
    }
    auto admission = elsewhere([&] { return hall_.application.admit(request); });
    if (Response* refused = std::get_if<Response>(&admission)) {
      if (!head.is_done()) close_ = true;  // its body stays unread
      return std::move(*refused);
    }
    http::request_parser<Body> parser(std::move(head));
    const std::pair<int, std::string> fault = read_body(parser, std::get<uint64_t>(admission), share);
    if (error_ || fault.first) return refusal(request, fault);
    request.body = std::move(parser.get().body());
    return elsewhere([&] { return hall_.application.handle(request); });
  }

  static bool understand(const http::request_header<>& head, Request& request) {
    request.method = std::string(head.method_string());
    request.target = std::string(head.target());
    for (const auto& field : head) {
      std::string name(field.name_string());
      for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      std::string& value = request.headers[name];
      value += (value.empty() ? "" : ", ") + std::string(field.value());
    }
    return parse_target(request.target, request);
  }

  // Sets error_, or returns a fault, or nothing (status 0, no error).
  std::pair<int, std::string> read_body(http::request_parser<Body>& parser, uint64_t limit, Share& share) {
    if (parser.is_done()) return std::pair{0, std::string()};
    const uint64_t length = parser.content_length().value_or(limit);  // unknown: the most it may become
    if (length > limit) {
      return std::pair{413, concat("the body has ", length, " bytes; this request may have at most ", limit)};
    }
    if (!share.take(length)) return std::pair{503, std::string("too many large requests at once; try again")};
    parser.body_limit(limit);
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) send_continue();
    if (error_) return std::pair{0, std::string()};
    deadline(hall_.options.body, length);
    http::async_read(stream_, buffer_, parser, token());
    return error_ ? fault_of(error_) : std::pair{0, std::string()};
  }

  void send_continue() {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    deadline(hall_.options.header);
    asio::async_write(stream_, asio::buffer(kContinue), token());
  }

  std::optional<Answer> refusal(const Request& request, const std::pair<int, std::string>& fault) {
    close_ = true;
    error_ = {};
    if (fault.first == 0) return std::nullopt;
    return hall_.application.refuse(request, fault.first, fault.second);
  }

  template <typename MessageBody>
  void fill_head(http::response<MessageBody>& out, const Request& request, const Response& response) {
    out.version(version_);
    out.result(static_cast<unsigned>(response.status));
    if (!response.content_type.empty()) out.set(http::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) out.set(name, value);
    out.set("X-Request-Id", request.id);
    if (!keep_alive_ || hall_.draining) close_ = true;
    out.keep_alive(!close_);
  }

  bool send(const Request& request, Response& response) {
    http::response<Body> out;
    fill_head(out, request, response);
    const uint64_t length = response.body.size();
    if (request.method != "HEAD") out.body() = std::move(response.body);
    if (response.status != 204 && response.status != 304) out.content_length(length);
    deadline(hall_.options.body, length);
    sent_ += http::async_write(stream_, out, token());
    if (error_) close_ = true;
    return !error_;
  }

  // Returns the status. A live response ends its connection: what the client sends meanwhile is read, to notice when it
  // leaves, and thrown away.
  int serve_live(const Request& request, LiveResponse& live) {
    close_ = true;
    const auto wake = watch_ = std::make_shared<Wake>(hall_.io);
    lowest().expires_never();
    asio::spawn(
        hall_.io,
        [self = this->shared_from_this(), wake](asio::yield_context yield) { self->watch_client(*wake, yield); },
        asio::detached);
    auto notify = [&io = hall_.io, wake] { asio::post(io, [wake] { wake->set(); }); };
    elsewhere([&] { return live.start(notify), true; });
    int status = 0;
    bool comments = false;  // an event stream has begun
    last_sent_ = Clock::now();
    while (!wake->client_left) {
      wake->ready = false;
      LiveResponse::Step step = elsewhere([&] { return live.poll(); });
      if (step.head) {
        status = step.head->status;
        comments = step.head->content_type == "text/event-stream";
        if (step.done) {
          step.head->body += step.bytes;
          return send(request, *step.head) ? status : kClientLeft;
        }
        if (!begin_chunks(request, *step.head)) break;
      }
      if (!step.bytes.empty() && !send_chunk(step.bytes)) break;
      if (step.done) {
        if (!end_chunks()) break;
        return status;
      }
      const bool quiet = !wait_for(*wake, step.again);
      if (quiet) last_sent_ = Clock::now();
      if (quiet && comments && !send_chunk(": still here\n\n")) break;
    }
    elsewhere([&] { return live.client_left(), true; });
    return kClientLeft;
  }

  // False when nothing happened for so long that the client should hear something.
  bool wait_for(Wake& wake, milliseconds again) {
    if (wake.ready || wake.client_left) return true;
    const auto pulse = last_sent_ + hall_.options.keep_alive;
    const auto next = again.count() > 0 ? std::min(pulse, Clock::now() + again) : pulse;
    wake.timer.expires_at(next);
    wake.timer.async_wait(token());
    return wake.ready || wake.client_left || Clock::now() < pulse;
  }

  void watch_client(Wake& wake, asio::yield_context yield) {
    char nothing[1024];
    error_code error;
    for (size_t read = 0; !error && read < (64 << 10);) {
      read += stream_.async_read_some(asio::buffer(nothing), yield[error]);
    }
    wake.client_left = true;
    wake.set();
  }

  bool begin_chunks(const Request& request, const Response& response) {
    http::response<http::empty_body> out;
    fill_head(out, request, response);
    chunked_ = version_ >= 11;  // HTTP/1.0 knows the end by the closed connection
    if (chunked_) out.chunked(true);
    http::response_serializer<http::empty_body> serializer(out);
    deadline(hall_.options.body);
    sent_ += http::async_write_header(stream_, serializer, token());
    return !error_;
  }

  bool send_chunk(const std::string& bytes) {
    last_sent_ = Clock::now();
    deadline(hall_.options.body, bytes.size());
    if (chunked_) {
      sent_ += asio::async_write(stream_, http::make_chunk(asio::buffer(bytes)), token());
    } else {
      sent_ += asio::async_write(stream_, asio::buffer(bytes), token());
    }
    return !error_;
  }

  bool end_chunks() {
    if (!chunked_) return true;
    deadline(hall_.options.body);
    sent_ += asio::async_write(stream_, http::make_chunk_last(), token());
    return !error_;
  }

  // A connection closed over unread bytes is reset, and the client may lose the answer it was sent: what still comes is
  // read for a moment.
  void say_goodbye() {
    error_code ignored;
    if (watch_) {
      linger_watched();
    } else if constexpr (!std::is_same_v<Stream, beast::tcp_stream>) {
      deadline(milliseconds(1000));
      stream_.async_shutdown(token());
    } else {
      deadline(milliseconds(1000));
      lowest().socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
      char nothing[4096];
      error_ = {};
      for (size_t read = 0; !error_ && read < (1 << 20) && sent_ > 0;) {
        read += stream_.async_read_some(asio::buffer(nothing), token());
      }
    }
    lowest().close();
  }

  // The same where watch_client reads already.
  void linger_watched() {
    error_code ignored;
    lowest().socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    if (watch_->client_left) return;
    watch_->timer.expires_after(milliseconds(1000));
    watch_->timer.async_wait(token());
  }

  Stream stream_;
  Hall& hall_;
  asio::yield_context yield_;
  beast::flat_buffer buffer_;
  std::shared_ptr<Wake> watch_;  // of a live response
  std::string peer_;
  error_code error_;
  Clock::time_point began_, last_sent_;
  uint64_t sent_ = 0;  // bytes of this request's answer
  unsigned version_ = 11;
  bool keep_alive_ = false, close_ = false, chunked_ = false;
};

template <typename Stream>
void serve_stream(Stream stream, Hall& hall, asio::yield_context yield) {
  auto connection = std::make_shared<HttpConnection<Stream>>(std::move(stream), hall, yield);
  try {
    connection->serve();
  } catch (const std::exception&) {
    // Memory ran out, or the system refused a socket call: this connection ends, others go on.
  }
}

}  // namespace

void serve_connection(asio::ip::tcp::socket socket, Hall& hall, asio::yield_context yield) {
  error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  beast::tcp_stream stream(std::move(socket));
  if (hall.tls) {
    serve_stream(beast::ssl_stream<beast::tcp_stream>(std::move(stream), *hall.tls), hall, yield);
  } else {
    serve_stream(std::move(stream), hall, yield);
  }
}

void turn_away(asio::ip::tcp::socket socket, const Hall& hall) {
  static constexpr std::string_view kFull =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  if (hall.tls) return;  // nothing can be said before a handshake
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(kFull), ignored);
}

}  // namespace glmimage::serve
