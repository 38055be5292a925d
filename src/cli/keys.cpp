#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "core/error.h"
#include "serve/data_folder.h"
#include "serve/database/database.h"
#include "serve/key_store.h"

namespace glmimage::cli {
namespace {

using nlohmann::json;
using serve::ApiKey;
using serve::KeyStore;

constexpr const char* kFooter = R"(Examples:
  glm-image keys add phone-app --requests-per-minute 60 --queue-share 4
  glm-image keys list
  glm-image keys revoke phone-app

A key's secret is shown once, when it is made. The database keeps its SHA-256.)";

struct KeysOptions {
  std::string queue, name;
  serve::KeyLimits limits;
  bool json = false;
};

std::string day(const std::optional<serve::Time>& time) {
  if (!time) return "-";
  const std::time_t seconds = std::chrono::system_clock::to_time_t(*time);
  std::tm utc = {};
  ::gmtime_r(&seconds, &utc);
  char text[24];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &utc);
  return text;
}

json describe(const ApiKey& key) {
  const auto seconds = [](const std::optional<serve::Time>& time) {
    return time ? json(static_cast<double>(time->time_since_epoch().count()) / 1000) : json();
  };
  return {{"id", key.id},
          {"name", key.name},
          {"queue_share", key.limits.queue_share},
          {"requests_per_minute", key.limits.requests_per_minute},
          {"created", seconds(key.created)},
          {"last_used", seconds(key.last_used)},
          {"revoked", seconds(key.revoked)}};
}

void print(const json& value) { std::printf("%s\n", value.dump(2).c_str()); }

std::unique_ptr<serve::Database> open(const KeysOptions& options) {
  return serve::Database::open(options.queue.empty() ? serve::default_queue().string() : options.queue);
}

int add(const KeysOptions& options) {
  const auto database = open(options);
  const KeyStore::NewKey made = KeyStore(*database).add(options.name, options.limits);
  if (options.json) {
    json out = describe(made.key);
    out["secret"] = made.secret;
    print(out);
    return 0;
  }
  // The secret alone on standard output, so that a script can keep it.
  std::fprintf(stderr, "%s (%s); the secret is shown this once:\n", made.key.name.c_str(), made.key.id.c_str());
  std::printf("%s\n", made.secret.c_str());
  return 0;
}

int list(const KeysOptions& options) {
  const auto database = open(options);
  const std::vector<ApiKey> keys = KeyStore(*database).list();
  if (options.json) {
    json out = json::array();
    for (const ApiKey& key : keys) out.push_back(describe(key));
    print(out);
    return 0;
  }
  if (keys.empty())
    std::fprintf(stderr, "there are no keys (glm-image keys add NAME makes one)\n");
  else
    std::printf("%-40s  %-16s  %-16s  %-16s  %6s  %6s  NAME\n", "ID", "CREATED", "LAST USED", "REVOKED", "SHARE",
                "PER MIN");
  for (const ApiKey& key : keys) {
    std::printf("%-40s  %-16s  %-16s  %-16s  %6lld  %7lld  %s\n", key.id.c_str(), day(key.created).c_str(),
                day(key.last_used).c_str(), day(key.revoked).c_str(), static_cast<long long>(key.limits.queue_share),
                static_cast<long long>(key.limits.requests_per_minute), key.name.c_str());
  }
  return 0;
}

int revoke(const KeysOptions& options) {
  const auto database = open(options);
  const ApiKey key = KeyStore(*database).revoke(options.name);
  if (options.json)
    print(describe(key));
  else
    std::printf("%s (%s) is revoked\n", key.name.c_str(), key.id.c_str());
  return 0;
}

}  // namespace

void add_keys(CLI::App& app, Command& run) {
  auto options = std::make_shared<KeysOptions>();
  CLI::App* keys = app.add_subcommand("keys", "Make, list and revoke API keys of the server");
  keys->footer(kFooter);
  keys->require_subcommand(1);
  const auto add_command = [&](const char* name, const char* what, int (*act)(const KeysOptions&)) {
    CLI::App* command = keys->add_subcommand(name, what);
    command->add_option("--queue", options->queue,
                        "The server's database: a file, or postgres://…; default: the server's own default");
    command->add_flag("--json", options->json, "Answer as JSON");
    command->callback([options, act, &run] { run = [options, act] { return act(*options); }; });
    return command;
  };
  CLI::App* adding = add_command("add", "Make a key and show its secret", add);
  adding->add_option("name", options->name, "What it is for; 1 to 100 bytes")->required();
  const CLI::Range limit(int64_t{0}, int64_t{1000000});
  adding
      ->add_option("--queue-share", options->limits.queue_share,
                   "Requests of this key that may wait or run at once; 0: no limit")
      ->check(limit);
  adding->add_option("--requests-per-minute", options->limits.requests_per_minute, "0: no limit")->check(limit);
  add_command("list", "All keys, revoked ones too", list);
  add_command("revoke", "Refuse a key from now on", revoke)
      ->add_option("key", options->name, "Its name or id")
      ->required();
}

}  // namespace glmimage::cli
