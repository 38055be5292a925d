#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "serve/http.h"

namespace glmimage::serve {

struct ServerOptions {
  std::string address = "127.0.0.1";               // an IP address; "localhost" is 127.0.0.1
  uint16_t port = 8080;                            // 0: one that is free
  std::filesystem::path certificate, private_key;  // PEM, both or neither: TLS

  // Against clients that are many, slow or large.
  int connections = 1024;                         // more are answered 503 and closed
  uint32_t header_bytes = 16 << 10;               // of request line and header
  uint64_t bodies_in_flight = uint64_t{1} << 30;  // bytes of all bodies being read or answered
  std::chrono::milliseconds idle{60'000};         // between two requests of a connection
  std::chrono::milliseconds header{10'000};       // from the first byte of a request to the end of its header
  std::chrono::milliseconds body{20'000};         // for a body or an answer, …
  uint64_t slowest_bytes_per_second = 16 << 10;   // … and a second more for every so many bytes
  std::chrono::milliseconds keep_alive{15'000};   // a comment in an event stream where nothing else happens
  int threads = 8;                                // that run handlers
};

// HTTP/1.1 on one address. One thread moves bytes, for all connections; handlers run on others. A slow client costs
// its connection and nothing else: header and body have a deadline as a whole, not a deadline for each read.
class Server {
 public:
  // Binds and listens; clients wait until run. Throws ErrorKind::usage for an address, certificate or key that is none,
  // ErrorKind::io when the system refuses the address. `application` must outlive the server.
  Server(const ServerOptions& options, Application& application);
  ~Server();  // run has returned
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  // Serves until stop, or until drain was called and the last connection is closed.
  void run();
  // From any thread: takes no new connections, closes idle ones, lets every request end, with "Connection: close".
  void drain();
  // From any thread: closes everything now.
  void stop();
  int open_connections() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// True for 127.0.0.0/8, ::1 and localhost. Throws ErrorKind::usage when `address` is no IP address.
bool is_loopback(const std::string& address);

}  // namespace glmimage::serve
