#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/device.h"
#include "core/version.h"

using namespace glmimage;

namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image pull zai-org/GLM-Image
  glm-image generate --prompt 'a red apple on a green background' --output apple.png
  glm-image eval --count 20 --out out/eval
  glm-image inspect checkpoints/mini
  glm-image doctor
  glm-image quantize checkpoints/mini out/mini-int8 --ar int8 --dit int8
  glm-image serve
  glm-image train vae --out runs/vae

'glm-image COMMAND --help' tells about one command.)";

// CLI11 reports help, the version and bad usage by exceptions of its own.
int finish_parse_error(const CLI::App& app, const CLI::ParseError& error, bool json) {
  if (error.get_exit_code() == 0) return app.exit(error);
  std::string message = error.what();
  // CLI11 misses the subcommand before it minds the word that was meant to be one.
  if (app.get_subcommands().empty() && !app.remaining().empty()) {
    message = "unknown argument: " + app.remaining().front();
  }
  return cli::report(Error(ErrorKind::usage, message + " (see --help)"), json);
}

int run_program(int argc, char** argv) {
  // A file that grows past its limit is an error of writing, which cleans up after itself, and not a sudden death.
  ::signal(SIGXFSZ, SIG_IGN);
  CLI::App app{"GLM-Image: pictures from words and pictures, and the training of the models that draw them",
               "glm-image"};
  app.footer(kFooter);
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  cli::Command run;
  cli::add_generate(app, run);
  cli::add_doctor(app, run);
  cli::add_eval(app, run);
  cli::add_inspect(app, run);
  cli::add_pull(app, run);
  cli::add_quantize(app, run);
  cli::add_serve(app, run);
  cli::add_train(app, run);
  cli::add_plan(app, run);
  cli::add_keys(app, run);
  bool json = false;
  for (int i = 1; i < argc; ++i) json = json || std::strcmp(argv[i], "--json") == 0;
  try {
    app.parse(argc, argv);
    return run();
  } catch (const CLI::ParseError& error) {
    return finish_parse_error(app, error, json);
  } catch (...) {
    return cli::report(current_error(), json);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int code = run_program(argc, argv);
  std::cout.flush();
  std::fflush(nullptr);
  if (has_device_library()) return code;
  // Nothing of ours is left to do, and LibTorch would take back its thousands of operators one by one.
  std::_Exit(code);
}
