#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "pipeline/picture_file.h"
#include "pipeline/pipeline.h"
#include "serve/janitor.h"
#include "serve/job_store.h"
#include "serve/request_log.h"
#include "serve/server.h"
#include "serve/services.h"
#include "serve/worker.h"

namespace glmimage::serve {

struct ServingOptions {
  ServerOptions server;
  ServiceOptions service;
  DrawingRules rules;
  PipelineOptions pipeline;
  PictureFileOptions file;            // label and recipe of finished pictures; `encode` of `worker` is made of it
  std::filesystem::path lora_folder;  // adapters that requests may name, beside those of `pipeline`; empty: none
  std::string model_name = "glm-image";
  std::string queue;  // a SQLite file, or postgres://…
  std::string blobs;  // a folder, or s3://…
  QueueLimits limits;
  JanitorOptions janitor;
  WorkerOptions worker;
  std::chrono::milliseconds drain{0};  // for the job being drawn, before it goes back to the queue; 0: until it is done
};

// `glm-image serve`: the database, the model, a worker and the server, from start to end.
class Serving {
 public:
  // Opens everything, in the order in which faults are cheapest to find: the address, the database, the model. Throws
  // ErrorKind::usage where the address is public and there is no API key, and what its parts throw. Stages of loading
  // are told to `progress`, which may be null.
  Serving(ServingOptions options, RequestLog& log, Progress* progress);
  ~Serving();
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  // Serves until drain has come to its end.
  void run();
  // From any thread, once: takes nothing new, waits for the job being drawn (see ServingOptions::drain), and lets every
  // client know. Returns when run is about to.
  void drain();
  uint16_t port() const;
  // Of the pipeline as it was opened first.
  at::ScalarType dtype() const;
  const std::vector<LoraUse>& loras() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace glmimage::serve
