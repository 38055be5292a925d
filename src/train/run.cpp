#include "train/run.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace glmimage::train {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string state_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

// Finished states, oldest first. A state is written under another name and renamed when it is whole.
std::vector<fs::path> finished_states(const fs::path& folder) {
  std::vector<fs::path> out;
  if (!fs::exists(folder)) return out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind("step-", 0) == 0 && entry.path().extension() != ".part") {
      out.push_back(entry.path());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

Run::Run(const std::string& stage, RunOptions options, ParameterList trained, ParameterList buffers)
    : stage_(stage),
      options_(std::move(options)),
      trained_(std::move(trained)),
      buffers_(std::move(buffers)),
      optimiser_(trained_, options_.optimiser),
      ema_(trained_, options_.ema_decay) {
  std::error_code error;
  fs::create_directories(options_.out, error);
  if (error) fail(ErrorKind::io, options_.out.string(), ": cannot be made: ", error.message());
  if (options_.resume) restore();
  metrics_.open(options_.out / "metrics.jsonl", first_step_ ? std::ios::app : std::ios::trunc);
  if (!metrics_) fail(ErrorKind::io, (options_.out / "metrics.jsonl").string(), ": cannot be written");
  began_ = std::chrono::steady_clock::now();
  std::fprintf(stderr, "%s: %lld parameters, steps %lld to %lld, batch %lld\n", stage_.c_str(),
               static_cast<long long>(count_elements(trained_)), static_cast<long long>(first_step_),
               static_cast<long long>(options_.steps), static_cast<long long>(options_.batch));
}

void Run::optimise(int64_t step, const at::Tensor& loss) {
  loss.backward();
  last_rate_ = warmup_cosine(step, options_.steps, options_.warmup, options_.learning_rate);
  last_update_ = optimiser_.step(last_rate_);
  if (last_update_.skipped) {
    ++skipped_;
    if (++skipped_in_a_row_ >= 10) {
      fail(ErrorKind::internal, stage_, ": ten steps in a row had gradients that are not finite, the last at step ",
           step);
    }
    return;
  }
  skipped_in_a_row_ = 0;
  ema_.update(step);
}

void Run::log(int64_t step, json values) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  const double per_step = seconds / static_cast<double>(step - first_step_ + 1);
  values["step"] = step;
  values["learning_rate"] = last_rate_;
  values["grad_norm"] = last_update_.grad_norm;
  values["skipped"] = skipped_;
  values["seconds"] = seconds;
  metrics_ << values.dump() << '\n' << std::flush;
  if (step % options_.log_every != 0 && step + 1 != options_.steps) return;
  std::string line;
  for (const auto& [name, value] : values.items()) {
    if (name == "step" || name == "seconds" || name == "skipped" || !value.is_number()) continue;
    char text[64];
    std::snprintf(text, sizeof text, " %s %.4g", name.c_str(), value.get<double>());
    line += text;
  }
  const double left = per_step * static_cast<double>(options_.steps - step - 1);
  std::fprintf(stderr, "%s %lld/%lld%s  %.2f s/step, %.0f min left\n", stage_.c_str(), static_cast<long long>(step + 1),
               static_cast<long long>(options_.steps), line.c_str(), per_step, left / 60);
}

void Run::note(const json& values) {
  metrics_ << values.dump() << '\n' << std::flush;
  std::fprintf(stderr, "%s: %s\n", stage_.c_str(), values.dump().c_str());
}

void Run::save_when_due(int64_t step) {
  const int64_t next = step + 1;
  if (next == options_.steps || stopping() || (options_.save_every > 0 && next % options_.save_every == 0)) save(next);
}

void Run::save(int64_t next_step) {
  const fs::path folder = options_.out / "state";
  const fs::path final_name = folder / state_name(next_step), temporary = final_name.string() + ".part";
  fs::remove_all(temporary);
  fs::create_directories(temporary);
  ParameterList weights = trained_;
  weights.insert(weights.end(), buffers_.begin(), buffers_.end());
  write_safetensors(temporary / "weights.safetensors", named_tensors(weights));
  write_safetensors(temporary / "optimiser.safetensors", optimiser_.state());
  write_safetensors(temporary / "ema.safetensors", ema_.state());
  write_json_file(temporary / "state.json", {{"stage", stage_}, {"step", next_step}, {"seed", options_.seed}});
  fs::remove_all(final_name);
  fs::rename(temporary, final_name);
  std::vector<fs::path> states = finished_states(folder);
  constexpr size_t kKept = 2;
  for (size_t i = 0; i + kKept < states.size(); ++i) fs::remove_all(states[i]);
}

void Run::restore() {
  const std::vector<fs::path> states = finished_states(options_.out / "state");
  if (states.empty()) return;
  const fs::path& folder = states.back();
  const JsonObject state = JsonObject::open(folder / "state.json");
  if (state.text("stage") != stage_)
    state.reject("stage", concat("is not '", stage_, "': another stage's run is in this folder"));
  if (static_cast<uint64_t>(state.integer("seed")) != options_.seed) {
    state.reject("seed", concat("is not ", options_.seed, ": another run is in this folder"));
  }
  at::NoGradGuard no_grad;
  const SafetensorsFile weights = SafetensorsFile::open(folder / "weights.safetensors");
  for (const ParameterList* list : {&trained_, &buffers_}) {
    for (const Parameter& p : *list) p.tensor->copy_(weights.tensor(p.name));
  }
  optimiser_.load_state(SafetensorsFile::open(folder / "optimiser.safetensors"));
  ema_.load_state(SafetensorsFile::open(folder / "ema.safetensors"));
  first_step_ = state.integer("step");
}

}  // namespace glmimage::train
