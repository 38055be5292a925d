#include "cli/serve_options.h"

#include "cli/memory_option.h"
#include "core/certificate_trust.h"
#include "core/error.h"
#include "serve/data_folder.h"

namespace glmimage::cli {
namespace {

constexpr auto kDay = std::chrono::hours(24);

uint64_t parse_bytes(const char* option, const std::string& text) {
  try {
    const MemoryLimit limit = parse_memory(text);
    if (limit.kind == MemoryLimit::Kind::budget) return static_cast<uint64_t>(limit.bytes);
  } catch (const Error&) {
  }
  fail(ErrorKind::usage, option, " ", text, ": expected a size such as 50MB or 2GiB");
}

void add_listening(CLI::App& command, ServeOptions& options) {
  const char* group = "Listening";
  command.add_option("--address", options.server.address, "IP address; 0.0.0.0 or ::, for all, needs an API key first")
      ->capture_default_str()
      ->group(group);
  command.add_option("--port", options.server.port, "0: one that is free")->capture_default_str()->group(group);
  command.add_option("--tls-certificate", options.server.certificate, "PEM file with the certificate and its chain")
      ->group(group);
  command.add_option("--tls-key", options.server.private_key, "PEM file with its private key")->group(group);
  command
      .add_option("--public-url", options.service.public_url,
                  "How clients reach this server (https://pictures.example), for the URLs of pictures")
      ->group(group);
  command.add_option("--host-name", options.service.host_names, "A name this server goes by; several times")
      ->group(group);
  command.add_option("--origin", options.service.origins, "A page's origin that may ask (CORS); several times")
      ->group(group);
  command.add_option("--connections", options.server.connections, "At the same time, at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 60000))
      ->group(group);
}

void add_queue(CLI::App& command, ServeOptions& options) {
  const char* group = "Queue";
  command
      .add_option("--queue", options.queue,
                  "SQLite file, or postgres://… that several machines share; default: $GLM_IMAGE_DATA/queue.sqlite")
      ->group(group);
  command.add_option("--blobs", options.blobs, "Folder, or s3://bucket/prefix; default: $GLM_IMAGE_DATA/blobs")
      ->group(group);
  command.add_option("--max-queue", options.limits.max_queued, "Requests that may wait; more are answered 429")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->group(group);
  command.add_option("--max-queue-per-key", options.limits.max_queued_per_owner, "Of one key; 0: no limit")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1000000}))
      ->group(group);
  command.add_option("--keep-days", options.keep_days, "Finished requests and their pictures; default: for ever")
      ->check(CLI::Range(0.0, 36500.0))
      ->group(group);
  command.add_option("--keep-bytes", options.keep_bytes, "Of all pictures, like 20GiB; the oldest go first")
      ->group(group);
  command.add_option("--batch", options.batch, "Pictures given to the model together")
      ->capture_default_str()
      ->check(CLI::Range(1, 64))
      ->group(group);
  command
      .add_option("--drain-seconds", options.drain_seconds,
                  "After SIGTERM, for the picture being drawn, before it goes back to the queue; 0: until it is done")
      ->capture_default_str()
      ->check(CLI::Range(0, 86400))
      ->group(group);
}

void add_limits(CLI::App& command, ServeOptions& options) {
  const char* group = "Limits of a request";
  command.add_option("--max-pixels", options.rules.max_pixels, "Of a picture to draw")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 25))
      ->group(group);
  command.add_option("--max-steps", options.rules.max_steps, "Denoising steps")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000))
      ->group(group);
  command.add_option("--max-body", options.max_body, "Of a request with pictures")->capture_default_str()->group(group);
  command.add_option("--max-picture", options.max_picture, "Of one picture's file")
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-picture-pixels", options.rules.pictures.pixels, "Of a picture to edit")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 28))
      ->group(group);
  command
      .add_flag("--fetch-urls", options.rules.pictures.fetch.public_hosts,
                "Take https:// URLs of pictures to edit, from public addresses only")
      ->group(group);
  command
      .add_option("--fetch-allow", options.fetch_allow,
                  "Take them from this HOST (or HOST:PORT), whatever its address; may be repeated")
      ->group(group);
}

}  // namespace

void add_serve_options(CLI::App& command, ServeOptions& options) {
  command.add_option("--model-name", options.model_name, "The model's name in the API")->capture_default_str();
  command.add_option("--lora-dir", options.lora_folder,
                     "Folder of adapters (NAME.safetensors) that requests may name, beside those of --lora");
  command.add_flag("--log-prompts", options.service.log_prompts, "Write prompts into the log");
  add_listening(command, options);
  add_queue(command, options);
  add_limits(command, options);
  add_label_options(command, options.labelling);
  add_draw_options(command, options.draw);
}

serve::ServingOptions serving_options(const ServeOptions& options) {
  serve::ServingOptions out;
  out.server = options.server;
  out.service = options.service;
  out.service.max_body = parse_bytes("--max-body", options.max_body);
  out.rules = options.rules;
  out.rules.pictures.bytes = parse_bytes("--max-picture", options.max_picture);
  serve::FetchSources& sources = out.rules.pictures.fetch;
  for (const std::string& host : options.fetch_allow) sources.named.push_back(serve::fetch_host(host));
  if (sources.any()) sources.trust = certificate_trust_from_environment();
  const GenerateRequest drawing = request_of(options.draw);
  validate(GenerateRequest{.prompt = "x",
                           .references = {},
                           .width = {},
                           .height = {},
                           .steps = drawing.steps,
                           .guidance_scale = drawing.guidance_scale,
                           .temperature = drawing.temperature,
                           .top_p = drawing.top_p,
                           .cache = drawing.cache});
  out.rules.steps = drawing.steps;
  out.rules.max_steps = std::max(options.rules.max_steps, drawing.steps);
  out.rules.guidance_scale = drawing.guidance_scale;
  out.rules.temperature = drawing.temperature;
  out.rules.top_p = drawing.top_p;
  out.rules.cache = drawing.cache;
  out.model_name = options.model_name;
  out.lora_folder = options.lora_folder;
  out.queue = options.queue.empty() ? serve::default_queue().string() : options.queue;
  out.blobs = options.blobs.empty() ? serve::default_blobs().string() : options.blobs;
  out.limits = options.limits;
  out.worker.batch = options.batch;
  out.drain = std::chrono::seconds(options.drain_seconds);
  if (options.keep_days) {
    out.janitor.retention.max_age = std::chrono::duration_cast<std::chrono::milliseconds>(*options.keep_days * kDay);
  }
  if (options.keep_bytes) {
    out.janitor.retention.max_bytes = static_cast<int64_t>(parse_bytes("--keep-bytes", *options.keep_bytes));
  }
  // Other processes tell of their jobs through PostgreSQL only; a file has one server as a rule.
  const bool shared = out.queue.starts_with("postgres");
  out.service.poll = std::chrono::milliseconds(shared ? 500 : 2000);
  apply_label(options.labelling, out.file);
  out.pipeline = prepare(options.draw);
  out.pipeline.largest.batch = options.batch;
  return out;
}

}  // namespace glmimage::cli
