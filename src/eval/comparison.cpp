#include "eval/comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "eval/check.h"
#include "eval/scenes.h"
#include "models/vae/config.h"

namespace glmimage::eval {
namespace {

using nlohmann::json;

// Draws all pictures of a comparison with one of its checkpoints, and judges them where they are scenes.
class Painter {
 public:
  Painter(const ComparisonOptions& options, Progress* progress,
          const std::function<void(int64_t done, int64_t total)>& drawn)
      : options_(options), progress_(progress), drawn_(drawn) {}

  struct Painted {
    std::vector<Image> pictures;
    Totals totals;
  };

  Painted paint(PipelineOptions with) {
    if (dtype_) with.dtype = dtype_;
    const Pipeline pipeline = Pipeline::open(with, progress_);
    dtype_ = pipeline.dtype();
    if (prompts_.empty()) choose_prompts(pipeline.default_size());
    Painted out;
    for (size_t i = 0; i < prompts_.size(); ++i) {
      if (drawn_) drawn_(done_, 2 * static_cast<int64_t>(prompts_.size()));
      GenerateRequest request;
      request.prompt = prompts_[i];
      request.steps = options_.steps;
      request.seed = options_.seed + i;
      if (checker_) request.width = request.height = size_;
      out.pictures.push_back(
          pipeline.generate(request, {.progress = progress_, .trace = nullptr, .preview = {}}).image);
      if (checker_) {
        out.totals.add(
            checker_->check(out.pictures.back(), scenes_[i], [this] { return progress_ && progress_->cancelled(); }));
      }
      if (drawn_) drawn_(++done_, 2 * static_cast<int64_t>(prompts_.size()));
    }
    return out;
  }

  const std::vector<std::string>& prompts() const { return prompts_; }
  bool judges() const { return checker_.has_value(); }

 private:
  void choose_prompts(int64_t size) {
    prompts_ = options_.prompts;
    if (!prompts_.empty()) return;
    size_ = size;
    const world::World world = world::World::open({.size = size});
    scenes_ = sample_scenes(world, options_.seed, options_.scenes);
    checker_.emplace(world, WordReader::open());
    for (const EvalScene& scene : scenes_) prompts_.push_back(scene.prompt);
  }

  const ComparisonOptions& options_;
  Progress* progress_;
  const std::function<void(int64_t done, int64_t total)>& drawn_;
  std::optional<at::ScalarType> dtype_;  // of the first
  std::vector<std::string> prompts_;
  std::vector<EvalScene> scenes_;
  std::optional<Checker> checker_;
  int64_t size_ = 0, done_ = 0;
};

// JSON has no infinity.
json decibels(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

std::string decibel_text(double value) {
  if (!std::isfinite(value)) return "equal";
  char text[40];
  std::snprintf(text, sizeof text, "%.1f dB", value);
  return text;
}

}  // namespace

double psnr(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height || a.pixels.size() != b.pixels.size() || a.pixels.empty()) {
    fail(ErrorKind::internal, "psnr: pictures of ", a.width, " x ", a.height, " and ", b.width, " x ", b.height);
  }
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    const double off = static_cast<double>(a.pixels[i]) - static_cast<double>(b.pixels[i]);
    sum += off * off;
  }
  if (sum == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.pixels.size()) / sum);
}

double Comparison::psnr_quantile(double share) const {
  std::vector<double> all;
  for (const Picture& picture : pictures) all.push_back(picture.psnr);
  std::sort(all.begin(), all.end());
  if (all.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(all.size())));
  return all[std::clamp<size_t>(rank, 1, all.size()) - 1];
}

json Comparison::to_json() const {
  json list = json::array();
  for (const Picture& picture : pictures) {
    list.push_back({{"prompt", picture.prompt}, {"seed", picture.seed}, {"psnr", decibels(picture.psnr)}});
  }
  json out = {{"steps", steps},
              {"psnr",
               {{"median", decibels(psnr_quantile(0.5))},
                {"lowest_tenth", decibels(psnr_quantile(0.1))},
                {"worst", decibels(psnr_quantile(0))}}},
              {"pictures", list}};
  if (scores) out["scores"] = {{"source", scores->before.to_json()}, {"quantised", scores->after.to_json()}};
  return out;
}

std::string Comparison::text() const {
  std::string out =
      concat(pictures.size(), " pictures, PSNR to those of the source: median ", decibel_text(psnr_quantile(0.5)),
             ", lowest tenth ", decibel_text(psnr_quantile(0.1)), ", worst ", decibel_text(psnr_quantile(0)), "\n");
  if (!scores) return out;
  char line[120];
  std::snprintf(line, sizeof line, "%-24s %12s %12s\n", "right", "source", "quantised");
  out += line;
  for (const Measure& measure : measures()) {
    const Tally &before = scores->before.*measure.tally, &after = scores->after.*measure.tally;
    if (before.of == 0) continue;
    std::snprintf(line, sizeof line, "%-24s %12s %12s\n", measure.title, concat(before.right, "/", before.of).c_str(),
                  concat(after.right, "/", after.of).c_str());
    out += line;
  }
  return out;
}

void validate(const ComparisonOptions& options) {
  if (!options.prompts.empty()) return;
  const VaeConfig vae = VaeConfig::from_json(JsonObject::open(options.before.model / "vae" / "config.json"));
  world::World::open({.size = vae.sample_size});
}

Comparison compare(const ComparisonOptions& options, Progress* progress,
                   const std::function<void(int64_t done, int64_t total)>& drawn) {
  if (options.prompts.empty() && options.scenes < 1) fail(ErrorKind::internal, "compare: nothing to draw");
  Painter painter(options, progress, drawn);
  const Painter::Painted before = painter.paint(options.before), after = painter.paint(options.after);
  Comparison out;
  out.steps = options.steps;
  for (size_t i = 0; i < before.pictures.size(); ++i) {
    out.pictures.push_back({painter.prompts()[i], options.seed + i, psnr(before.pictures[i], after.pictures[i])});
  }
  if (painter.judges()) out.scores = Comparison::Scores{before.totals, after.totals};
  return out;
}

}  // namespace glmimage::eval
