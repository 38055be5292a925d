#pragma once

#include <string>
#include <thread>

#include "serve/change_signal.h"
#include "serve/database/libpq.h"

namespace glmimage::serve {

// A connection with limits on its silence. Throws TryAgain with libpq's reason.
PostgresHandle connect_postgres(const std::string& uri);

// A thread with a connection of its own that LISTENs and passes each notification on. A lost connection is made again,
// and counts as a notification, as some may have been missed.
class PostgresListener {
 public:
  PostgresListener(std::string uri, std::string channel, ChangeSignal& signal);
  ~PostgresListener();

 private:
  void run();
  bool listen_until_lost();
  bool sleep_or_stop(int milliseconds) const;  // true: stop

  std::string uri_, channel_;
  ChangeSignal& signal_;
  int stop_ = -1;  // an eventfd, readable once the thread is to end
  std::thread thread_;
};

}  // namespace glmimage::serve
