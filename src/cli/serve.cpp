#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <thread>

#include "cli/commands.h"
#include "cli/serve_options.h"
#include "cli/terminal_progress.h"
#include "core/dtype.h"
#include "core/version.h"

namespace glmimage::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image serve
  glm-image serve --model ~/GLM-Image --memory auto --port 9000
  glm-image keys add phone-app
  glm-image serve --address 0.0.0.0 --tls-certificate fullchain.pem --tls-key privkey.pem
  glm-image serve --queue postgres://user@database/pictures --blobs s3://pictures

Speaks the images API of OpenAI, that of Z.ai, and /v1/jobs. SIGTERM lets the picture being drawn end; a second one
does not wait.)";

// The signals that end a server, held back in every thread that starts from now on.
sigset_t hold_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return set;
}

// Waits for the first of them and drains. A second one ends the process at once: what was accepted is in the queue.
void drain_when_told(sigset_t signals, serve::Serving& serving, serve::RequestLog& log) {
  int number = 0;
  ::sigwait(&signals, &number);
  log.note("draining", {{"signal", number == SIGINT ? "SIGINT" : "SIGTERM"}});
  std::thread([signals]() mutable {
    int second = 0;
    ::sigwait(&signals, &second);
    ::_exit(130);
  }).detach();
  serving.drain();
}

int serve_pictures(const ServeOptions& options) {
  const sigset_t signals = hold_signals();
  serve::RequestLog log(serve::write_to_stderr, options.service.log_prompts);
  TerminalProgress progress(options.draw.quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  serve::Serving serving(serving_options(options), log, &progress);
  progress.finish_line();
  if (!options.draw.quiet) warn_of_unmatched(serving.loras());
  log.note("listening", {{"address", options.server.address},
                         {"port", serving.port()},
                         {"tls", !options.server.certificate.empty()},
                         {"model", options.draw.model},
                         {"dtype", dtype_name(serving.dtype())},
                         {"version", version_text()}});
  std::thread watcher(drain_when_told, signals, std::ref(serving), std::ref(log));
  serving.run();
  watcher.join();
  log.note("stopped");
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, Command& run) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "Draw for clients over HTTP");
  command->footer(kFooter);
  add_serve_options(*command, *options);
  command->callback([options, &run] { run = [options] { return serve_pictures(*options); }; });
}

}  // namespace glmimage::cli
