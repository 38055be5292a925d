#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace glmimage::cli {

// Each subcommand adds its options to `app` and, when it was named, sets `run`, which returns the exit code.
using Command = std::function<int()>;
void add_generate(CLI::App& app, Command& run);
void add_doctor(CLI::App& app, Command& run);
void add_eval(CLI::App& app, Command& run);
void add_inspect(CLI::App& app, Command& run);
void add_serve(CLI::App& app, Command& run);
void add_pull(CLI::App& app, Command& run);
void add_quantize(CLI::App& app, Command& run);
void add_train(CLI::App& app, Command& run);
void add_plan(CLI::App& app, Command& run);
void add_keys(CLI::App& app, Command& run);

}  // namespace glmimage::cli
