#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/cache_policy.h"
#include "serve/blob_store.h"
#include "serve/event_hub.h"
#include "serve/job_store.h"
#include "serve/key_store.h"
#include "serve/lora_catalog.h"
#include "serve/picture_input.h"

namespace glmimage::serve {

class Metrics;
class RequestLog;

// What a request says nothing about, and what it may ask for.
struct DrawingRules {
  int64_t steps = 50;
  double guidance_scale = 1.5;
  std::optional<double> temperature, top_p;
  CachePolicy cache = {};
  int64_t max_steps = 200;
  int64_t max_pixels = int64_t{1} << 22;  // of one picture to draw
  size_t prompt_characters = 32'000;
  PictureLimits pictures;
};

// The one model that is served.
struct ServedModel {
  std::string name = "glm-image";                                              // in /v1/models
  int64_t created = 0;                                                         // Unix seconds, of its files
  int64_t default_size = 1024;                                                 // pixels a side
  std::shared_ptr<const LoraCatalog> loras = std::make_shared<LoraCatalog>();  // that requests may name
  std::function<int64_t(const std::string& prompt)> count_text_tokens;
  std::function<int64_t(const PictureSize&)> count_picture_tokens;  // of a picture to edit
};

struct ServiceOptions {
  bool need_keys = false;
  std::vector<std::string> host_names;  // this server goes by, beside addresses and localhost
  std::vector<std::string> origins;     // pages of these may ask (CORS)
  std::string public_url;               // "https://pictures.example"; empty: what the client called us
  uint64_t max_body = uint64_t{128} << 20;
  bool log_prompts = false;
  std::chrono::milliseconds poll = std::chrono::seconds(2);  // of the store, for jobs other machines draw
};

enum class Phase {
  serving,
  draining,  // nothing new is taken; the job that is being drawn is finished
  stopping,  // this process draws no more
};

// What handlers work with. Everything outlives the server.
struct Services {
  JobStore& jobs;
  BlobStore& blobs;
  KeyStore& keys;
  EventHub& hub;
  Metrics& metrics;
  RequestLog& log;
  ServedModel model;
  DrawingRules rules;
  ServiceOptions options;
  // Why this process draws nothing at the moment; unset: it does.
  std::function<std::optional<std::string>()> trouble;
  std::atomic<Phase> phase{Phase::serving};
};

}  // namespace glmimage::serve
