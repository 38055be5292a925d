#include "train/watch/run_log.h"

#include <cstdio>
#include <optional>

#include "core/encode_image.h"
#include "core/error.h"
#include "core/files.h"

namespace glmimage::train {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr size_t kRateWindow = 20;  // steps over which the rate is taken

// Keeps the lines of steps before `first_step`, and those of no step.
void drop_lines_from(const fs::path& file, int64_t first_step) {
  std::ifstream in(file);
  if (!in) return;
  std::string kept;
  bool changed = false;
  for (std::string line; std::getline(in, line);) {
    const json value = json::parse(line, nullptr, false);  // a run that was killed may have left half a line
    const bool keep = value.is_object() && value.value("step", int64_t{-1}) < first_step;
    if (keep) kept += line + "\n";
    changed = changed || !keep;
  }
  in.close();
  if (changed) write_file(file, kept);
}

std::vector<std::pair<std::string, double>> scalars_of(const json& values, const std::string& prefix) {
  std::vector<std::pair<std::string, double>> out;
  for (const auto& [name, value] : values.items()) {
    if (value.is_number() && name != "step") out.emplace_back(prefix + name, value.get<double>());
  }
  return out;
}

}  // namespace

RunLog::RunLog(const TrainConfig& config, const fs::path& folder, int64_t first_step)
    : stage_(config.stage),
      folder_(folder),
      steps_(config.steps),
      log_every_(config.log_every),
      samples_a_step_(config.batch * config.accumulate),
      events_(folder, first_step),
      spikes_(config.spike),
      began_(Clock::now()),
      ends_{began_} {
  const fs::path file = folder / "metrics.jsonl";
  if (first_step > 0) drop_lines_from(file, first_step);
  metrics_.open(file, first_step > 0 ? std::ios::app : std::ios::trunc);
  if (!metrics_) fail(ErrorKind::io, file.string(), ": cannot be written");
}

void RunLog::write(const json& line) {
  metrics_.clear();  // a disk that was full may have room again
  metrics_ << line.dump() << '\n' << std::flush;
}

double RunLog::seconds_a_step() {
  ends_.push_back(Clock::now());
  if (ends_.size() > kRateWindow + 1) ends_.pop_front();
  return std::chrono::duration<double>(ends_.back() - ends_.front()).count() / static_cast<double>(ends_.size() - 1);
}

void RunLog::step(int64_t step, json values) {
  const double per_step = seconds_a_step();
  values["step"] = step;
  values["seconds"] = std::chrono::duration<double>(ends_.back() - began_).count();
  values["samples_per_second"] = static_cast<double>(samples_a_step_) / per_step;
  if (const std::optional<double> z = spikes_.add(values.value("loss", 0.0))) {
    values["spike"] = *z;
    std::fprintf(stderr, "%s: the loss of step %lld, %.4g, is %.1f deviations above the late mean\n", stage_.c_str(),
                 static_cast<long long>(step), values["loss"].get<double>(), *z);
  }
  write(values);
  events_.scalars(step, scalars_of(values, "train/"));
  if (step % log_every_ == 0 || step + 1 == steps_) tell(step, values, per_step);
}

void RunLog::tell(int64_t step, const json& values, double seconds_a_step) const {
  std::string line;
  for (const auto& [name, value] : values.items()) {
    if (name == "step" || name == "seconds" || name == "skipped" || name == "bytes_sent" || !value.is_number())
      continue;
    char text[64];
    std::snprintf(text, sizeof text, " %s %.4g", name.c_str(), value.get<double>());
    line += text;
  }
  const double left = seconds_a_step * static_cast<double>(steps_ - step - 1);
  std::fprintf(stderr, "%s %lld/%lld%s  %.2f s/step, %.0f min left\n", stage_.c_str(), static_cast<long long>(step + 1),
               static_cast<long long>(steps_), line.c_str(), seconds_a_step, left / 60);
}

void RunLog::processes(int64_t step, json values) {
  const auto mib = [](const json& bytes) { return bytes.get<double>() / (1024 * 1024); };
  std::fprintf(stderr,
               "%s: each of %lld processes (%s) holds %.2f MiB, by formula %.2f, and sends %.2f MiB a step, by "
               "formula %.2f\n",
               stage_.c_str(), static_cast<long long>(values["processes"].get<int64_t>()),
               values["sharding"].get<std::string>().c_str(), mib(values["memory"]["all"]),
               mib(values["memory_by_formula"]["all"]), mib(values["bytes_sent"]),
               mib(values["bytes_sent_by_formula"]));
  values["step"] = step;
  write(values);
}

void RunLog::measured(int64_t step, const json& values) {
  json line = values;
  line["step"] = step;
  write(line);
  events_.scalars(step, scalars_of(values, "held_out/"));
  std::fprintf(stderr, "%s: after step %lld: %s\n", stage_.c_str(), static_cast<long long>(step),
               values.dump().c_str());
}

void RunLog::pictures(int64_t step, const std::vector<SamplePicture>& pictures) {
  fs::create_directories(folder_ / "samples");
  for (const SamplePicture& picture : pictures) {
    char number[32];
    std::snprintf(number, sizeof number, "step-%08lld-", static_cast<long long>(step));
    save_image(folder_ / "samples" / (number + picture.name + ".png"), picture.image);
    events_.image(step, "samples/" + picture.name, picture.image);
  }
}

void RunLog::note(const json& values) {
  write(values);
  events_.scalars(steps_, scalars_of(values, "final/"));
  std::fprintf(stderr, "%s: %s\n", stage_.c_str(), values.dump().c_str());
}

}  // namespace glmimage::train
