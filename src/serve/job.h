#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/cache_policy.h"
#include "pipeline/progress.h"

namespace glmimage::serve {

using Time = std::chrono::sys_time<std::chrono::milliseconds>;

// queued -> running -> done | failed | cancelled. A running job goes back to queued when its worker is lost or drained.
enum class JobState { queued, running, done, failed, cancelled };
const char* state_name(JobState state);  // "queued", …
std::optional<JobState> parse_state(const std::string& name);
inline bool is_final(JobState state) { return state != JobState::queued && state != JobState::running; }

const char* stage_name(Stage stage);  // "references", "visual_tokens", "glyphs", "denoise", "decode", "load"

// An adapter a request draws with: its name in the LoraCatalog, and how strong it works.
struct JobLora {
  std::string name;
  double scale = 1;
  bool operator==(const JobLora&) const = default;
};
using JobLoras = std::optional<std::vector<JobLora>>;  // unset: those the server was started with
nlohmann::json loras_json(const JobLoras& loras);      // a list of {"name", "scale"}, or null

// What one API request asks for: `count` pictures of one prompt. Everything a worker on another machine needs; pictures
// are named by their hash in the blob store. Checked by the API before it is submitted.
struct JobRequest {
  std::string prompt;
  std::vector<std::string> references;   // hashes in the blob store, in prompt order
  std::optional<int64_t> width, height;  // pixels; unset: the model's own size
  int64_t steps = 50;
  double guidance_scale = 1.5;
  uint64_t seed = 0;  // fixed when the job is accepted; picture i is drawn with seed + i
  std::optional<double> temperature, top_p;
  CachePolicy cache = {};
  JobLoras loras;
  int64_t count = 1;
  std::string format = "png";                       // png, jpeg, webp
  std::optional<int> quality;                       // of jpeg and webp, 1 to 100; unset: the encoder's default
  int64_t partial_images = 0;                       // x0 estimates of each picture to show on the way
  nlohmann::json extra = nlohmann::json::object();  // the API family's own fields, handed back as they came

  nlohmann::json to_json() const;
  // Throws ErrorKind::io naming the field: what a database holds was written by to_json or is broken.
  static JobRequest from_json(const nlohmann::json& value);
};

// A finished picture of a job.
struct JobPicture {
  int64_t index = 0;
  uint64_t seed = 0;
  std::string blob;  // its hash in the blob store
  std::string mime;  // image/png, image/jpeg, image/webp
  int64_t width = 0, height = 0, bytes = 0;
  std::map<std::string, double> seconds = {};  // wall time of each stage
  int64_t visual_tokens = 0;                   // written by the language model
};

// An x0 estimate on the way to a picture: a PNG in the blob store, not kept beyond the store's grace time.
struct PartialPicture {
  int64_t index = 0;   // of the picture
  int64_t number = 0;  // 0, 1, … of this picture
  std::string blob;
};

// How far a running job is.
struct JobProgress {
  int64_t index = 0;  // the picture being drawn
  Stage stage = Stage::load;
  int64_t done = 0, total = 0;           // visual tokens, denoising steps, …
  std::vector<PartialPicture> partials;  // so far, of this attempt

  nlohmann::json to_json() const;
  static JobProgress from_json(const nlohmann::json& value);  // throws ErrorKind::io
};

struct JobError {
  std::string kind;  // of ErrorKind: "usage", "out_of_memory", …; "poison": it ended the process again and again
  std::string message;
};

struct Job {
  std::string id;     // UUIDv7: sorts by time, 62 random bits
  std::string kind;   // the API route's name: "generation", "edit", …
  std::string owner;  // id of the API key; empty where no keys are asked for
  std::optional<std::string> idempotency_key;
  JobRequest request;
  JobState state = JobState::queued;
  Time created = {};
  std::optional<Time> started, finished;  // started: of the latest attempt
  int64_t attempts = 0;                   // times it was claimed, less the times it was handed back
  bool cancel_requested = false;          // its worker will see it at its next step
  std::optional<JobError> error;          // of a failed job
  std::vector<JobPicture> pictures;       // finished ones, by index
  std::optional<JobProgress> progress;    // of a running job, at most a second old
};

}  // namespace glmimage::serve
