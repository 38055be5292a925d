#include "train/run.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cstdio>
#include <cstdlib>
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

// What several processes train goes to the device unit by unit (FlatWeights).
RunParts placed(RunParts parts, const StageOptions& options) {
  for (const Parameter& p : parts.buffers) *p.tensor = p.tensor->to(options.device);
  if (options.group) return parts;
  for (const Parameter& p : parts.trained) *p.tensor = p.tensor->to(options.device);
  return parts;
}

std::optional<at::ScalarType> autocast_type(Precision precision) {
  return precision == Precision::bfloat16 ? std::optional(at::kBFloat16) : std::nullopt;
}

bool is_due(int64_t next, int64_t every) { return every > 0 && next % every == 0; }

// The averaged weights are in the modules while it lives.
struct AveragedWeights {
  AveragedWeights(Ema& ema, DataParallel* parallel) : ema(ema), parallel(parallel) { exchange(); }
  ~AveragedWeights() {
    try {
      exchange();
    } catch (const Error&) {  // another process ended: the next exchange says so
    }
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;
  void exchange() {
    ema.swap();
    if (parallel) parallel->publish();
  }
  Ema& ema;
  DataParallel* parallel;
};

std::unique_ptr<DataParallel> parallel_of(const StageOptions& options, const RunParts& parts) {
  if (!options.group) return nullptr;
  return std::make_unique<DataParallel>(*options.group, parts.trained, parts.stacks, options.config.distributed,
                                        options.device);
}

// What the optimiser and the average are made of.
std::vector<TensorPiece> optimised(const DataParallel* parallel, const RunParts& parts) {
  return parallel ? parallel->pieces() : whole_parameters(parts.trained);
}

int64_t bytes_of(const std::vector<TensorPiece>& pieces) {
  int64_t bytes = 0;
  for (const TensorPiece& piece : pieces) bytes += static_cast<int64_t>(piece.values.nbytes());
  return bytes;
}

// A double as text, to the bit; also what is not finite, which JSON has no words for.
std::string exact(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

json memory_json(const TrainingMemory& memory) {
  return {{"weights", memory.weights},
          {"gradients", memory.gradients},
          {"moments", memory.moments},
          {"average", memory.average},
          {"all", memory.all()}};
}

}  // namespace

Run::Run(const StageOptions& options, Beginning beginning, RunParts parts)
    : config_(config_of_stage(options.config, beginning.stage)),
      beginning_(std::move(beginning)),
      parts_(placed(std::move(parts), options)),
      device_(options.device),
      stop_(options.stop),
      passes_(passes_of(options)),
      states_(options.out),
      parallel_(parallel_of(options, parts_)),
      optimiser_(std::in_place, optimised(parallel_.get(), parts_), config_.optimiser),
      ema_(optimised(parallel_.get(), parts_), config_.ema_decay),
      log_(options.first() ? std::make_unique<RunLog>(config_, options.out, beginning_.step) : nullptr),
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
  if (!beginning_.state.empty()) restore();
  if (!log_) return;
  if (config_.warmup >= config_.steps) {
    std::fprintf(stderr, "warning: with warmup %lld the learning rate does not reach its peak in %lld steps\n",
                 static_cast<long long>(config_.warmup), static_cast<long long>(config_.steps));
  }
  std::fprintf(stderr, "%s: %lld parameters, steps %lld to %lld, batch %lld x %lld\n", config_.stage.c_str(),
               static_cast<long long>(count_elements(parts_.trained)), static_cast<long long>(beginning_.step),
               static_cast<long long>(config_.steps), static_cast<long long>(config_.batch),
               static_cast<long long>(config_.accumulate));
}

Run::Passes Run::passes_of(const StageOptions& options) {
  const int64_t all = options.config.accumulate;
  if (!options.group) return {.all = all, .own = all, .rank = 0};
  // Processes that share a pass's tokens make the same pass, and count as copies of one.
  const int64_t sharing = options.config.distributed.sequence_parallel;
  return {.all = all, .own = all * sharing / options.group->size(), .rank = options.group->rank() / sharing};
}

bool Run::running(int64_t step) {
  if (step >= config_.steps) return false;
  if (!stopping()) return true;
  if (step > saved_) save(step);  // the signal came after finish_step had looked for it
  if (!log_) return false;
  std::fprintf(stderr, "%s: stopped before step %lld; the same command goes on from there\n", config_.stage.c_str(),
               static_cast<long long>(step));
  return false;
}

Pass Run::forward(int64_t pass, const PassFunction& pass_of) const {
  // Weights that come and go must not stay behind as copies in the precision.
  const bool comes_and_goes = parallel_ && parallel_->sharding() == Sharding::zero3;
  const Autocast precision(device_, autocast_type(config_.precision),
                           comes_and_goes ? Autocast::WeightCopies::drop : Autocast::WeightCopies::keep);
  return pass_of(pass);
}

double Run::learning_rate(int64_t step) const {
  switch (config_.schedule) {
    case Schedule::constant: return warmup_constant(step, config_.warmup, config_.learning_rate);
    case Schedule::cosine: break;
  }
  return warmup_cosine(step, config_.steps, config_.warmup, config_.learning_rate, config_.final_rate);
}

void Run::add_pass(int64_t number, const PassFunction& pass_of, Sums& sums) {
  if (parallel_) parallel_->begin_pass();
  const Pass pass = forward(number, pass_of);
  const double weight = config_.accumulate == 1 ? 1 : pass.weight;
  (weight == 1 ? pass.loss : pass.loss * weight).backward();
  if (parallel_) parallel_->end_pass();
  sums.values["loss"] += weight * pass.loss.item<double>();
  for (const auto& [name, value] : pass.values.items()) sums.values[name] += weight * value.get<double>();
  sums.weight += weight;
}

// In the order of the ranks, which is that of the passes. They tell each other too who was told to stop.
Run::Sums Run::of_all_ranks(const Sums& own) {
  json values = json::object();
  for (const auto& [name, value] : own.values) values[name] = exact(value);
  const json told = {{"values", values}, {"weight", exact(own.weight)}, {"stop", stop_ && stop_->load()}};
  Sums all;
  for (const std::string& text : parallel_->group().all_gather_text(told.dump(), "the losses of the others' passes")) {
    const json of_rank = json::parse(text);
    const auto number = [](const json& value) { return std::strtod(value.get<std::string>().c_str(), nullptr); };
    for (const auto& [name, value] : of_rank["values"].items()) all.values[name] += number(value);
    all.weight += number(of_rank["weight"]);
    agreed_to_stop_ = agreed_to_stop_ || of_rank["stop"].get<bool>();
  }
  return all;
}

json Run::update(int64_t step, const PassFunction& pass_of) {
  Sums sums;
  if (parallel_) {
    sent_before_ = parallel_->group().bytes_sent();
    parallel_->begin_update(passes_.own);
  }
  for (int64_t i = 0; i < passes_.own; ++i) add_pass(passes_.number(step * passes_.own + i), pass_of, sums);
  SumOverAll sum_of_squares;
  if (parallel_) {
    parallel_->finish_update();
    if (held_.all() == 0) held_ = parallel_->memory();
    sums = of_all_ranks(sums);
    sum_of_squares = [&](double here) { return parallel_->sum_of_squares(here); };
  }
  last_rate_ = learning_rate(step);
  last_update_ = optimiser_->step(last_rate_, 1 / sums.weight, sum_of_squares);
  if (last_update_.skipped) {
    count_skipped(step);
  } else {
    skipped_in_a_row_ = 0;
    ema_.update(step);
    if (parallel_) parallel_->publish();
  }
  if (parallel_ && step == first_step()) tell_processes(step);
  json means = json::object();
  for (const auto& [name, sum] : sums.values) means[name] = sum / sums.weight;
  return means;
}

// Once, what the processes cost, counted and by formula.
void Run::tell_processes(int64_t step) {
  if (!log_) return;
  held_.moments = 0;
  for (const TensorPiece& piece : optimiser_->state()) {
    if (piece.values.dim() > 0) held_.moments += static_cast<int64_t>(piece.values.nbytes());
  }
  held_.average = bytes_of(ema_.state());
  const int64_t sent = parallel_->group().bytes_sent() - sent_before_;
  log_->processes(step, {{"processes", parallel_->group().size()},
                         {"sharding", config_.fields().to_json()["distributed"]["sharding"]},
                         {"memory", memory_json(held_)},
                         {"memory_by_formula", memory_json(parallel_->predicted_memory(config_.ema_decay > 0))},
                         {"bytes_sent", sent},
                         {"bytes_sent_by_formula", parallel_->predicted_bytes_sent(passes_.own)}});
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
  if (!log_) return;
  if (parallel_) {
    values["bytes_sent"] = parallel_->group().bytes_sent() - sent_before_;
    values["overlap"] = parallel_->overlap();
  }
  log_->step(step, std::move(values));
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
  const AveragedWeights averaged(ema_, parallel_.get());
  std::optional<DataParallel::Reading> reading;
  if (parallel_) reading.emplace(*parallel_);
  if (held_out) {
    const json measured = parts_.held_out();
    if (log_) log_->measured(step, measured);
  }
  if (samples) {
    const std::vector<SamplePicture> pictures = parts_.samples();
    if (log_) log_->pictures(step, pictures);
  }
}

void Run::note_held_out() {
  at::NoGradGuard no_grad;
  const Autocast precision(device_, autocast_type(config_.precision));
  const json measured = parts_.held_out();
  json values = json::object();
  for (const auto& [name, value] : measured.items()) values["held_out_" + name] = value;
  if (!values.empty()) note(values);
}

void Run::change_weights(const std::function<void()>& change) {
  std::optional<DataParallel::Changing> changing;
  if (parallel_) changing.emplace(*parallel_);
  change();
}

std::vector<at::Tensor> Run::of_all_passes(const std::vector<at::Tensor>& own) const {
  if (!parallel_) return own;
  std::vector<std::vector<at::Tensor>> rounds;  // the i-th pass of every rank
  for (const at::Tensor& each : own) {
    rounds.push_back(parallel_->group().all_gather_rows(each.cpu().contiguous(), "what the others' passes have seen"));
  }
  std::vector<at::Tensor> out;
  for (size_t r = 0; r < static_cast<size_t>(parallel_->group().size()); ++r) {
    for (const std::vector<at::Tensor>& round : rounds) out.push_back(round[r]);
  }
  return out;
}

void Run::apply_ema() {
  ema_.apply();
  if (!parallel_) return;
  optimiser_.reset();  // room for the weights
  parallel_->gather_all();
}

void Run::save(int64_t next_step) {
  if (next_step == saved_ && next_step > 0) return;
  saved_ = next_step;
  const bool in_pieces = parallel_ && parallel_->sharding() != Sharding::none;
  const auto fill = [&](const fs::path& folder) {
    if (in_pieces) parallel_->group().agree("", "rank 0 to make the folder of the state");
    write_state(folder);
    if (log_) write_about(folder, next_step);
  };
  if (log_) return states_.save(next_step, config_.keep_last, fill);
  if (in_pieces) fill(states_.half_written(next_step));
}

std::vector<TensorPiece> Run::weight_pieces() const { return optimised(parallel_.get(), parts_); }

std::vector<TensorPiece> Run::buffer_pieces() const {
  std::vector<TensorPiece> pieces;
  for (const Parameter& p : parts_.buffers) pieces.push_back({p.name, *p.tensor, p.shape});
  return pieces;
}

// Rank 0 alone, where it has everything.
void Run::write_state(const fs::path& folder) {
  std::vector<TensorPiece> weights = weight_pieces();
  if (log_) {
    for (TensorPiece& buffer : buffer_pieces()) weights.push_back(std::move(buffer));
  }
  if (!parallel_ || parallel_->sharding() == Sharding::none) {
    write_whole(folder, "weights", weights);
    write_whole(folder, "optimiser", optimiser_->state());
    if (config_.ema_decay > 0) write_whole(folder, "ema", ema_.state());
    return;
  }
  PiecesWriter writer(parallel_->group(), folder);
  std::string fault;
  try {
    writer.write("weights", weights);
    writer.write("optimiser", optimiser_->state());
    if (config_.ema_decay > 0) writer.write("ema", ema_.state());
  } catch (const Error& error) {
    fault = error.what();
  }
  parallel_->group().agree(fault, "the others' pieces of the state");
  writer.finish();
}

void Run::write_about(const fs::path& folder, int64_t next_step) const {
  TrainConfig config = config_;
  write_json_file(folder / SavedStates::kAbout, {{"stage", config.stage},
                                                 {"step", next_step},
                                                 {"origin", beginning_.origin.string()},
                                                 {"init", beginning_.init.string()},
                                                 {"foundations", parts_.foundations},
                                                 {"skipped", skipped_},
                                                 {"skipped_in_a_row", skipped_in_a_row_},
                                                 {"config", config.fields().to_json()}});
}

void Run::restore() {
  at::NoGradGuard no_grad;
  const fs::path& folder = beginning_.state;
  const SavedTensors weights = SavedTensors::open(folder, "weights");
  for (const std::vector<TensorPiece>& pieces : {weight_pieces(), buffer_pieces()}) {
    for (const TensorPiece& piece : pieces) weights.read(piece);
  }
  if (parallel_) parallel_->publish();
  optimiser_->load_state(SavedTensors::open(folder, "optimiser"));
  if (config_.ema_decay > 0) ema_.load_state(SavedTensors::open(folder, "ema"));
  const JsonObject about = JsonObject::open(folder / SavedStates::kAbout);
  skipped_ = about.integer("skipped");
  skipped_in_a_row_ = about.integer("skipped_in_a_row");
}

}  // namespace glmimage::train
