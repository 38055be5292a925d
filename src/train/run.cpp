#include "train/run.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "core/autocast.h"
#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"

namespace glmimage::train {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

TrainConfig config_of_stage(TrainConfig config, const std::string& stage) {
  config.stage = stage;
  return config;
}

RunParts placed(RunParts parts, at::Device device) {
  for (const ParameterList* list : {&parts.trained, &parts.buffers}) {
    for (const Parameter& p : *list) *p.tensor = p.tensor->to(device);
  }
  return parts;
}

std::optional<at::ScalarType> autocast_type(Precision precision) {
  return precision == Precision::bfloat16 ? std::optional(at::kBFloat16) : std::nullopt;
}

bool is_due(int64_t next, int64_t every) { return every > 0 && next % every == 0; }

// The averaged weights are in the modules while it lives.
struct AveragedWeights {
  explicit AveragedWeights(Ema& ema) : ema(ema) { ema.swap(); }
  ~AveragedWeights() { ema.swap(); }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;
  Ema& ema;
};

}  // namespace

Run::Run(const StageOptions& options, Beginning beginning, RunParts parts)
    : config_(config_of_stage(options.config, beginning.stage)),
      beginning_(std::move(beginning)),
      parts_(placed(std::move(parts), options.device)),
      device_(options.device),
      stop_(options.stop),
      states_(options.out),
      optimiser_(parts_.trained, config_.optimiser),
      ema_(parts_.trained, config_.ema_decay),
      log_(config_, options.out, beginning_.step),
      saved_(beginning_.step) {
  if (config_.held_out_every > 0 && !parts_.held_out) {
    fail(ErrorKind::usage, "held_out_every: stage ", config_.stage, " has no held-out loss");
  }
  if (config_.sample_every > 0 && !parts_.samples) {
    fail(ErrorKind::usage, "sample_every: stage ", config_.stage, " draws no sample pictures");
  }
  if (beginning_.step > config_.steps) {
    fail(ErrorKind::usage, beginning_.state.string(), ": this run has done ", beginning_.step, " steps; --steps ",
         config_.steps, " asks for fewer: give more, another --out, or --resume never");
  }
  if (config_.warmup >= config_.steps) {
    std::fprintf(stderr, "warning: with warmup %lld the learning rate does not reach its peak in %lld steps\n",
                 static_cast<long long>(config_.warmup), static_cast<long long>(config_.steps));
  }
  if (!beginning_.state.empty()) restore();
  std::fprintf(stderr, "%s: %lld parameters, steps %lld to %lld, batch %lld x %lld\n", config_.stage.c_str(),
               static_cast<long long>(count_elements(parts_.trained)), static_cast<long long>(beginning_.step),
               static_cast<long long>(config_.steps), static_cast<long long>(config_.batch),
               static_cast<long long>(config_.accumulate));
}

bool Run::running(int64_t step) {
  if (step >= config_.steps) return false;
  if (!stopping()) return true;
  if (step > saved_) save(step);  // the signal came after finish_step had looked for it
  std::fprintf(stderr, "%s: stopped before step %lld; the same command goes on from there\n", config_.stage.c_str(),
               static_cast<long long>(step));
  return false;
}

Pass Run::forward(int64_t pass, const PassFunction& pass_of) const {
  const Autocast precision(device_, autocast_type(config_.precision));
  return pass_of(pass);
}

double Run::learning_rate(int64_t step) const {
  switch (config_.schedule) {
    case Schedule::constant: return warmup_constant(step, config_.warmup, config_.learning_rate);
    case Schedule::cosine: break;
  }
  return warmup_cosine(step, config_.steps, config_.warmup, config_.learning_rate, config_.final_rate);
}

json Run::update(int64_t step, const PassFunction& pass_of) {
  std::map<std::string, double> sums;
  double total = 0;
  for (int64_t i = 0; i < config_.accumulate; ++i) {
    const Pass pass = forward(step * config_.accumulate + i, pass_of);
    const double weight = config_.accumulate == 1 ? 1 : pass.weight;
    (weight == 1 ? pass.loss : pass.loss * weight).backward();
    sums["loss"] += weight * pass.loss.item<double>();
    for (const auto& [name, value] : pass.values.items()) sums[name] += weight * value.get<double>();
    total += weight;
  }
  last_rate_ = learning_rate(step);
  last_update_ = optimiser_.step(last_rate_, 1 / total);
  if (last_update_.skipped) {
    count_skipped(step);
  } else {
    skipped_in_a_row_ = 0;
    ema_.update(step);
  }
  json means = json::object();
  for (const auto& [name, sum] : sums) means[name] = sum / total;
  return means;
}

void Run::count_skipped(int64_t step) {
  ++skipped_;
  if (++skipped_in_a_row_ < config_.skipped_in_a_row) return;
  fail(ErrorKind::internal, config_.stage, ": ", skipped_in_a_row_,
       " steps in a row had gradients that are not finite, the last at step ", step);
}

void Run::log(int64_t step, json values) {
  values["learning_rate"] = last_rate_;
  values["grad_norm"] = last_update_.grad_norm;
  values["skipped"] = skipped_;
  log_.step(step, std::move(values));
}

void Run::finish_step(int64_t step) {
  const int64_t next = step + 1;
  watch(step, is_due(next, config_.held_out_every), is_due(next, config_.sample_every));
  if (next == config_.steps || stopping() || is_due(next, config_.save_every)) save(next);
}

void Run::watch(int64_t step, bool held_out, bool samples) {
  if (!held_out && !samples) return;
  at::NoGradGuard no_grad;
  const Autocast precision(device_, autocast_type(config_.precision));
  const AveragedWeights averaged(ema_);
  if (held_out) log_.measured(step, parts_.held_out());
  if (samples) log_.pictures(step, parts_.samples());
}

void Run::note_held_out() {
  at::NoGradGuard no_grad;
  const Autocast precision(device_, autocast_type(config_.precision));
  const json measured = parts_.held_out();
  json values = json::object();
  for (const auto& [name, value] : measured.items()) values["held_out_" + name] = value;
  if (!values.empty()) note(values);
}

void Run::save(int64_t next_step) {
  if (next_step == saved_ && next_step > 0) return;
  states_.save(next_step, config_.keep_last, [&](const fs::path& folder) {
    ParameterList weights = parts_.trained;
    weights.insert(weights.end(), parts_.buffers.begin(), parts_.buffers.end());
    write_safetensors(folder / "weights.safetensors", named_tensors(weights));
    write_safetensors(folder / "optimiser.safetensors", optimiser_.state());
    if (config_.ema_decay > 0) write_safetensors(folder / "ema.safetensors", ema_.state());
    write_json_file(folder / SavedStates::kAbout, {{"stage", config_.stage},
                                                   {"step", next_step},
                                                   {"origin", beginning_.origin.string()},
                                                   {"init", beginning_.init.string()},
                                                   {"foundations", parts_.foundations},
                                                   {"skipped", skipped_},
                                                   {"skipped_in_a_row", skipped_in_a_row_},
                                                   {"config", config_.fields().to_json()}});
  });
  saved_ = next_step;
}

void Run::restore() {
  at::NoGradGuard no_grad;
  const fs::path& folder = beginning_.state;
  const SafetensorsFile weights = SafetensorsFile::open(folder / "weights.safetensors");
  for (const ParameterList* list : {&parts_.trained, &parts_.buffers}) {
    for (const Parameter& p : *list) p.tensor->copy_(weights.tensor(p.name));
  }
  optimiser_.load_state(SafetensorsFile::open(folder / "optimiser.safetensors"));
  if (config_.ema_decay > 0) ema_.load_state(SafetensorsFile::open(folder / "ema.safetensors"));
  const JsonObject about = JsonObject::open(folder / SavedStates::kAbout);
  skipped_ = about.integer("skipped");
  skipped_in_a_row_ = about.integer("skipped_in_a_row");
}

}  // namespace glmimage::train
