#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <map>
#include <memory>

#include "serve/server.h"

namespace glmimage::serve {

// What all connections of a server share. Everything here but `handlers` belongs to the thread that runs `io`.
struct Hall {
  ServerOptions options;
  Application& application;
  boost::asio::io_context io{1};
  boost::asio::thread_pool handlers;
  std::unique_ptr<boost::asio::ssl::context> tls;  // none: plain
  bool draining = false;
  uint64_t bodies_in_flight = 0;  // bytes
  // Closes a connection that waits for its next request; by the connection.
  std::map<const void*, std::function<void()>> idle;

  Hall(const ServerOptions& o, Application& a) : options(o), application(a), handlers(o.threads) {}
};

// Serves one connection to its end. Does not throw. Runs in a fiber (Boost.Context) of its own: GCC 12, Debian's, makes
// wrong code of C++20's coroutines.
void serve_connection(boost::asio::ip::tcp::socket socket, Hall& hall, boost::asio::yield_context yield);

// Answers 503 and closes: there are too many.
void turn_away(boost::asio::ip::tcp::socket socket, const Hall& hall);

}  // namespace glmimage::serve
