#include "serve/database/postgres_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "serve/database/database.h"

namespace glmimage::serve {
namespace {

constexpr int kPauseMilliseconds = 1000;

bool listen(PGconn* connection, const std::string& channel) {
  const PostgresResult result(libpq().exec(connection, ("LISTEN " + channel).c_str()));
  return libpq().resultStatus(result.get()) == PGRES_COMMAND_OK;
}

}  // namespace

PostgresListener::PostgresListener(std::string uri, std::string channel, ChangeSignal& signal)
    : uri_(std::move(uri)), channel_(std::move(channel)), signal_(signal), stop_(::eventfd(0, EFD_CLOEXEC)) {
  if (stop_ < 0) fail(ErrorKind::io, "no file descriptor is left: ", std::strerror(errno));
  thread_ = std::thread([this] { run(); });
}

PostgresListener::~PostgresListener() {
  const uint64_t one = 1;
  if (::write(stop_, &one, sizeof one) == sizeof one) thread_.join();
  ::close(stop_);
}

void PostgresListener::run() {
  while (!listen_until_lost()) {
    if (sleep_or_stop(kPauseMilliseconds)) return;
  }
}

bool PostgresListener::sleep_or_stop(int milliseconds) const {
  pollfd stop = {stop_, POLLIN, 0};
  return ::poll(&stop, 1, milliseconds) > 0;
}

// True: asked to stop.
bool PostgresListener::listen_until_lost() {
  PostgresHandle connection;
  try {
    connection = connect_postgres(uri_);
  } catch (const TryAgain&) {
    return false;
  } catch (const Error&) {
    return false;
  }
  if (!listen(connection.get(), channel_)) return false;
  signal_.notify();
  while (true) {
    std::array<pollfd, 2> sources = {{{libpq().socket(connection.get()), POLLIN, 0}, {stop_, POLLIN, 0}}};
    if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR) return false;
    if (sources[1].revents) return true;
    if (!libpq().consumeInput(connection.get())) return false;
    bool told = false;
    while (PostgresNotification(libpq().notifies(connection.get()))) told = true;
    if (told) signal_.notify();
  }
}

}  // namespace glmimage::serve
