#include "serve/server.h"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include "core/error.h"
#include "serve/connection.h"

namespace glmimage::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

asio::ip::address address_of(const std::string& text) {
  error_code error;
  const asio::ip::address address = asio::ip::make_address(text == "localhost" ? "127.0.0.1" : text, error);
  if (error) {
    fail(ErrorKind::usage, "'", text, "' is no IP address to listen on; 127.0.0.1 is this machine, 0.0.0.0 or :: all");
  }
  return address;
}

std::unique_ptr<asio::ssl::context> open_tls(const ServerOptions& options) {
  if (options.certificate.empty() && options.private_key.empty()) return nullptr;
  if (options.certificate.empty() || options.private_key.empty()) {
    fail(ErrorKind::usage, "TLS needs both a certificate and its private key");
  }
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1);
  error_code error;
  context->use_certificate_chain_file(options.certificate.string(), error);
  if (error) fail(ErrorKind::usage, options.certificate.string(), ": no certificate in PEM form: ", error.message());
  context->use_private_key_file(options.private_key.string(), asio::ssl::context::pem, error);
  if (error) {
    fail(ErrorKind::usage, options.private_key.string(), ": not the private key of the certificate: ", error.message());
  }
  return context;
}

}  // namespace

bool is_loopback(const std::string& address) { return address_of(address).is_loopback(); }

struct Server::State {
  State(const ServerOptions& options, Application& application) : hall(options, application), acceptor(hall.io) {}

  void accept(asio::yield_context yield) {
    while (!hall.draining) {
      error_code error;
      tcp::socket socket(hall.io);
      acceptor.async_accept(socket, yield[error]);
      if (error == asio::error::operation_aborted) break;
      if (error) {  // out of file descriptors, most likely; waiting lets some close
        asio::steady_timer pause(hall.io, std::chrono::milliseconds(100));
        pause.async_wait(yield[error]);
        continue;
      }
      if (connections >= hall.options.connections) {
        turn_away(std::move(socket), hall);
        continue;
      }
      ++connections;
      asio::spawn(
          hall.io,
          [this, socket = std::move(socket)](asio::yield_context own) mutable {
            serve_connection(std::move(socket), hall, own);
          },
          [this](std::exception_ptr) {
            --connections;
            leave_when_empty();
          });
    }
  }

  void leave_when_empty() {
    if (hall.draining && connections == 0) hall.io.stop();
  }

  Hall hall;
  tcp::acceptor acceptor;
  std::atomic<int> connections{0};
};

Server::Server(const ServerOptions& options, Application& application)
    : state_(std::make_unique<State>(options, application)) {
  state_->hall.tls = open_tls(options);
  const tcp::endpoint endpoint(address_of(options.address), options.port);
  tcp::acceptor& acceptor = state_->acceptor;
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) {
    fail(ErrorKind::io, "cannot listen on ", options.address, " port ", options.port, ": ", error.message());
  }
}

Server::~Server() {
  state_->hall.handlers.stop();
  state_->hall.handlers.join();
}

uint16_t Server::port() const { return state_->acceptor.local_endpoint().port(); }

void Server::run() {
  asio::spawn(
      state_->hall.io, [this](asio::yield_context yield) { state_->accept(yield); }, [](std::exception_ptr) {});
  const auto work = asio::make_work_guard(state_->hall.io);  // handlers' threads bring some that nobody sees
  state_->hall.io.run();
  state_->hall.handlers.join();  // what handlers work with may go when this returns
}

void Server::drain() {
  asio::post(state_->hall.io, [this] {
    state_->hall.draining = true;
    error_code ignored;
    state_->acceptor.close(ignored);
    for (const auto& [connection, close] : state_->hall.idle) close();
    state_->leave_when_empty();
  });
}

void Server::stop() { state_->hall.io.stop(); }

int Server::open_connections() const { return state_->connections; }

}  // namespace glmimage::serve
