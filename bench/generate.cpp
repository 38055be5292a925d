#include "bench/generate.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "pipeline/pipeline.h"

namespace glmimage::bench {
namespace {

// Remembers when each stage reported each of its steps.
class Timeline final : public Progress {
 public:
  void report(Stage stage, int64_t done, int64_t) override { times_[{stage, done}] = seconds_since_start(); }
  bool cancelled() const override { return false; }
  double between(Stage stage, int64_t from, int64_t to) const {
    return times_.at({stage, to}) - times_.at({stage, from});
  }

 private:
  std::map<std::pair<Stage, int64_t>, double> times_;
};

// The samples of one run over the whole pipeline, by stage.
struct Samples {
  std::vector<double> prefill, visual_token, glyphs, denoise_step, decode;

  void take(const Timeline& timeline, int64_t visual_tokens, int64_t steps) {
    prefill.push_back(timeline.between(Stage::visual_tokens, 0, 1));
    if (visual_tokens > 1) {
      visual_token.push_back(timeline.between(Stage::visual_tokens, 1, visual_tokens) /
                             static_cast<double>(visual_tokens - 1));
    }
    glyphs.push_back(timeline.between(Stage::glyphs, 0, 1));
    denoise_step.push_back(timeline.between(Stage::denoise, 0, steps) / static_cast<double>(steps));
    decode.push_back(timeline.between(Stage::decode, 0, 1));
  }
};

}  // namespace

void bench_generate(Report& report, const GenerateWork& work, at::ScalarType dtype, Repeats repeats) {
  if (!std::filesystem::exists(work.model / "model_index.json")) {
    report.skip("generate", concat(work.model.string(), " is not a checkpoint (no model_index.json)"));
    return;
  }
  repeats.ahead = 1;
  const PipelineOptions options{.model = work.model, .device = repeats.device, .dtype = dtype, .loras = {}};
  std::optional<Pipeline> opened;
  report.add("generate.load", "load the checkpoint", time_runs(repeats, [&] {
               opened.reset();
               opened.emplace(Pipeline::open(options));
             }));

  const Pipeline& pipeline = *opened;
  GenerateRequest request;
  request.prompt = work.prompt;
  request.width = request.height = work.size;
  request.steps = work.steps;
  request.seed = 1;
  Samples samples;
  int runs = 0, side = 0;
  const std::vector<double> pictures = time_runs(repeats, [&] {
    Timeline timeline;
    const GenerateResult result = pipeline.generate(request, {.progress = &timeline, .trace = nullptr, .preview = {}});
    if (runs++ >= repeats.warm_up) samples.take(timeline, result.visual_tokens, request.steps);
    side = static_cast<int>(result.image.width);
    report.set_visual_tokens(result.visual_tokens);
  });
  report.add("generate.prefill", "prompt and first visual token", samples.prefill);
  if (!samples.visual_token.empty()) report.add("generate.visual_token", "one visual token", samples.visual_token);
  report.add("generate.glyphs", "glyphs of the quoted words", samples.glyphs);
  report.add("generate.denoise_step", "one denoising step, with guidance", samples.denoise_step);
  report.add("generate.decode", "latents to picture", samples.decode);
  report.add("generate.picture", concat("whole picture, ", side, " x ", side, ", ", request.steps, " steps"), pictures);
}

}  // namespace glmimage::bench
